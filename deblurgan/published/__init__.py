"""Weights that others have published, read without their software and made a generator of this project.

Read `catalogue` (what is known) and `command` (`python -m deblurgan weights`) first. `checkpoints` reads a file by way
of `torch_files` (with `pickles`) or the package safetensors. `conversion` makes a generator of it, by the names and
shapes in `architectures`, and proves it by `definitions`, the architectures in plain NumPy.
"""
