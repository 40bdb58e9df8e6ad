"""Deblurring by a generator."""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from deblurgan.networks.generators import stride
from deblurgan.networks.layers import PixelShuffle
from deblurgan.restoration import tiles

COPIES = 8
"""The most memory in use, in multiples of the network's largest layer output; measured by benchmarks/deblur.py."""


@dataclass(frozen=True)
class Reach:
    """How far a generator looks, pixels to each side, and what a pixel takes of memory while it is restored, bytes."""

    radius: int
    bytes: float


def reach_of(generator: keras.Model) -> Reach:
    """Add up the kernels from the first layer to the last, each at the scale of its images."""
    scale, width, largest = 1.0, 0.0, 0.0
    for layer in generator.layers:
        enlarging = isinstance(layer, layers.Conv2DTranspose | layers.UpSampling2D | PixelShuffle)
        if enlarging:
            scale /= 2
        if hasattr(layer, "kernel_size"):
            width += (layer.kernel_size[0] - 1) * scale
        if not enlarging and hasattr(layer, "strides"):
            scale *= layer.strides[0]
        largest = max(largest, 4 * layer.output.shape[-1] / scale**2)
    return Reach(math.ceil(width / 2) + stride(generator), COPIES * largest)  # kernels of even sizes lean to one side


def network(generator: keras.Model, *, few_sizes: bool = True) -> tiles.Method:
    """Restoring by a generator, see `networks.generators.build_generator`.

    Each new size of images costs memory, since oneDNN keeps what it prepared for the size, and time where XLA compiles:
    `few_sizes` is for images of many sizes.

    Without instance norm a restored pixel depends on its surroundings alone, so that tiles give what the whole image
    gives, but for rounding. Instance norm takes mean and variance over all pixels that the network is shown. A tile is
    then restored by its own statistics, as a crop was in training, and the result differs slightly.
    """

    def run(image: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(generator.predict_on_batch(image[None])[0])

    reach = reach_of(generator)
    return tiles.Method(run, reach.radius, reach.bytes, stride(generator), few_sizes=few_sizes)


def deblur(generator: keras.Model, image: np.ndarray) -> np.ndarray:
    """Deblur one image by a generator, see `tiles.deblur`.

    Examples
    --------
    A generator that has not been trained yet leaves images as they are:

    >>> from deblurgan.networks.generators import build_generator
    >>> from deblurgan.params import Generator
    >>> generator = build_generator(
    ...     Generator(architecture="resnet", filters=4, blocks=1, norm="none", upsample="resize", dropout=0,
    ...               identity_start=True)
    ... )
    >>> photo = np.arange(21 * 30 * 3).reshape(21, 30, 3).astype(np.uint8)
    >>> bool((deblur(generator, photo) == photo).all())
    True
    """
    return tiles.deblur(network(generator), image)
