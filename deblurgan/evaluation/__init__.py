"""Evaluation: blurred and sharp images in, scores out.

Read `metrics` first, then `scores` (of images, data sets and a whole test) and `evaluator` (the test split).
`measuring`, with `perceptual`, and `panels` run in all processes, `rows` keeps what was measured.
"""
