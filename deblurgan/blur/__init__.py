"""Blur that is made: sharp photos and frames of video in, pairs out.

Read `trajectory` (how a camera shakes, and its point spread function) first, then `convolution` (blurring with it),
`camera` (frames of a moving camera, averaged) and `synthesis` (the pairs of a whole folder). `contact_sheet` draws
kernels.
"""
