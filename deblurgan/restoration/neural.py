"""Deblurring by a generator."""

import math
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers

from deblurgan.networks.generators import stride
from deblurgan.networks.layers import MeanAround, PixelShuffle
from deblurgan.restoration import tiles
from deblurgan.restoration.explosions import Guard

COPIES = 8
"""The most memory in use, in images as large as the largest of the network; measured by benchmarks/deblur.py."""

FARTHEST = 96
"""Pixels to each side that margins of tiles have at most; benchmarks/margins.py measures what is lost by it."""


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
    """Restoring by a generator, see `models.build_generator`.

    Each new size of images costs megabytes, which oneDNN keeps of its preparations, and time where XLA compiles;
    `few_sizes` is for images of many sizes.

    Without instance norm a generator makes of a pixel what its surroundings say, so that tiles give what the whole
    gives, but for rounding. Instance norm takes mean and variance over all that the network is shown: tiles are then
    restored by the statistics of their own surroundings, which is no worse in principle (in training they were those of
    a crop), but not the same. Channel attention takes means, over a window where it is local.

    A generator that pads with black inside is shown images that are padded with black as little as it takes, as its
    authors show them, whatever `few_sizes` says.
    """
    reach, black = reach_of(generator), pads_with_black(generator)
    few = few_sizes and not black
    return tiles.Method(
        running(generator), min(reach.radius, FARTHEST), reach.bytes, stride(generator), few_sizes=few, black=black
    )


def running(generator: keras.Model) -> tiles.Restore:
    """What restores one image by a generator."""

    def run(image: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(generator.predict_on_batch(image[None])[0])

    return run


def pads_with_black(generator: keras.Model) -> bool:
    """Whether a generator is one of those that published weights are for, see `generators.build_generator`."""
    return any(layer.name == "to_unit_range" for layer in generator.layers)


def guarded(method: tiles.Method, generator: keras.Model) -> tuple[tiles.Method, Guard]:
    """A generator's method with its results looked at; a tile that explodes is restored with global statistics."""
    again = with_global_means(generator)
    guard = Guard(method.run, running(again) if again else None)
    return replace(method, run=guard), guard


def with_global_means(generator: keras.Model) -> keras.Model | None:
    """A generator of local attention, with global attention in its place and the same weights; None for others."""
    if not any(isinstance(layer, MeanAround) and layer.window for layer in generator.layers):
        return None

    def same(layer: keras.Layer) -> keras.Layer:
        return MeanAround(None, name=layer.name) if isinstance(layer, MeanAround) else layer

    return keras.models.clone_model(generator, clone_function=same)


def deblur(generator: keras.Model, image: np.ndarray) -> np.ndarray:
    """Deblur one image by a generator, see `tiles.deblur`."""
    return tiles.deblur(network(generator), image)
