"""The networks: parameters in, Keras models out.

Read `generators` and `critic` first, then `building` (initial weights, norms) and `layers`. `vgg19` extracts the
features of the perceptual loss, `winograd` speeds convolutions up, `model_files` saves and loads.
"""

from deblurgan import backend  # noqa: F401  imports Keras without its start-up notes, before any module here does
