"""Evaluation: restored and sharp images in, scores out.

Read `metrics` first, then `scores` (of images, data sets and a whole test) and `evaluator` (the test split).
`measuring` is the part that runs in all processes, `rows` keeps what was measured.
"""
