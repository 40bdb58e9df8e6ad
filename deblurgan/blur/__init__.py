"""Blur that is made: sharp photos and frames of video in, pairs out.

Read `trajectory` (how a camera shakes, and its point spread function) first, then `convolution` (blurring with it),
`camera` (a simulated camera that moves), `frame_averaging` (frames of high-speed video become a blurred one) and
`synthesis` (the pairs of a whole folder). `kinds` says which blur is drawn, `layered` is blur that varies over a
picture, `contact_sheet` draws kernels.
"""
