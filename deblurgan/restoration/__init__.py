"""A photo in, a photo out.

Read `command` (`python -m deblurgan deblur`) first, then `restorer` and `tiles` (any size within a budget of memory).
Methods: `neural` (a generator), `classical`, and `blind`, with `kernel_selection` (is there one blur, and which),
`kernel_estimation` and `deconvolution`. Files: `photo_files`, with `sixteen_bit`, `tiff` and `metadata`; `video` with
`video_colours`. `jobs` finds what is to be done, `options` reads the command line.
"""
