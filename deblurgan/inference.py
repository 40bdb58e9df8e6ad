"""Deblurring images of any size, whole or in tiles.

A tile is restored with a margin around it. A generator without instance norm makes of a pixel what its surroundings
say, so that with margins as wide as its receptive field tiles give what the whole image gives, but for rounding.
Instance norm takes mean and variance over all that the network is shown: tiles are then restored by the statistics of
their own surroundings, which is no worse in principle (in training they were those of a crop), but not the same, and
what two tiles say is blended over a ramp. Photos that fit into the memory are therefore restored whole.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from deblurgan.errors import UserError
from deblurgan.images import to_float, to_uint8
from deblurgan.layers import PixelShuffle
from deblurgan.models import stride

MEMORY = 2.5
"""Default budget of one photo's restoration, GB."""

COPIES = 8
"""The most memory in use, in images as large as the largest of the network; measured by benchmarks/deblur.py."""

IMAGE_BYTES = 60
"""Of a pixel, in all copies of an image and its result that are there at once: 8-bit and float32 ones."""

RAMP = 32
"""Pixels over which two tiles are blended."""

SMALLEST = 16
"""Pixels that a side is mirrored to at least: networks cannot mirror less than their padding."""

Restore = Callable[[np.ndarray], np.ndarray]
"""From a blurred image, `float32` of shape (H, W, 3) in [-1, 1], to the restored one."""


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


def deblur(generator: keras.Model, image: np.ndarray) -> np.ndarray:
    """Deblur one image, in tiles if the whole would take more than the default budget, on top of the image itself.

    Parameters
    ----------
    generator
        See `models.build_generator`.
    image
        `uint8` of shape (H, W, 3), of any size.

    Returns
    -------
    numpy.ndarray
        `uint8` of the same shape.
    """
    memory = MEMORY + IMAGE_BYTES * image.shape[0] * image.shape[1] / 1e9
    return to_uint8(restore(generator, to_float(image), tile_for(generator, image.shape, memory)))


def restore(generator: keras.Model, image: np.ndarray, tile: int | None = None) -> np.ndarray:
    """Deblur one image, without rounding.

    Parameters
    ----------
    generator
        See `models.build_generator`.
    image
        `float32` of shape (H, W, 3) in [-1, 1], of any size. It is mirrored below and right up to a multiple of the
        network's stride, at least up to 16 pixels, and cut back afterwards.
    tile
        Side of the squares that the network is shown, pixels; rounded up to a multiple of its stride. None: the whole.

    Returns
    -------
    numpy.ndarray
        Of the same shape and range.

    Raises
    ------
    UserError
        A tile is not larger than the margins it needs.
    """
    height, width = image.shape[:2]
    step = stride(generator)
    down, right = (max(SMALLEST, _up(side, step)) - side for side in (height, width))
    padded = np.pad(image, ((0, down), (0, right), (0, 0)), mode="symmetric")

    def run(part: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(generator.predict_on_batch(part[None])[0])

    if tile is None or max(padded.shape[:2]) <= tile:
        return run(padded)[:height, :width]
    margin = _up(reach_of(generator).radius + RAMP // 2, step)
    tile = _up(tile, step)
    if tile < 2 * margin + RAMP:
        raise UserError(f"tiles of {tile} pixels are too small: this generator needs {2 * margin + RAMP} or more")
    return _tiled(run, padded, tile, margin)[:height, :width]


def tile_for(generator: keras.Model, shape: tuple[int, ...], memory: float = MEMORY) -> int | None:
    """Choose how to cut an image so that its restoration keeps within a budget.

    Parameters
    ----------
    generator
        See `models.build_generator`.
    shape
        (H, W, 3).
    memory
        GB for the image, its result and what the network computes of one tile.

    Returns
    -------
    int or None
        Side of the tiles, pixels; None: restore the whole.

    Raises
    ------
    UserError
        The image alone takes more, or hardly less.
    """
    height, width = shape[:2]
    left, reach, step = memory * 1e9 - IMAGE_BYTES * height * width, reach_of(generator), stride(generator)
    if reach.bytes * height * width <= left:
        return None
    smallest = _up(2 * _up(reach.radius + RAMP // 2, step) + RAMP, step)
    side = int(math.sqrt(max(left, 0) / reach.bytes)) // step * step
    if side < smallest:
        needed = (reach.bytes * smallest**2 + IMAGE_BYTES * height * width) / 1e9
        raise UserError(f"{width}x{height} pixels need {needed:.1f} GB of memory or more, not {memory:g}")
    return side


def _up(length: float, step: int) -> int:
    """The next multiple of a step."""
    return math.ceil(length / step) * step


def _tiled(run: Restore, image: np.ndarray, tile: int, margin: int) -> np.ndarray:
    """Restore in tiles that overlap, and blend what they say; weights sum to one at each pixel."""
    restored = np.zeros(image.shape, np.float32)
    across = list(_spans(image.shape[1], tile, margin))
    for rows, row_weights in _spans(image.shape[0], tile, margin):
        for columns, column_weights in across:
            part = run(image[rows, columns])
            restored[rows, columns] += part * (row_weights[:, None] * column_weights)[..., None]
    return np.clip(restored, -1, 1)


def _spans(length: int, tile: int, margin: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut a side into equal overlapping spans, each with its share of every pixel in it."""
    size, core = min(tile, length), tile - 2 * margin
    count = 1 if size == length else math.ceil((length - 2 * margin) / core)
    position = np.arange(length) + 0.5

    def risen(edge: int) -> np.ndarray:
        return np.clip((position - edge) / RAMP + 0.5, 0, 1).astype(np.float32)

    edges = [0, *(margin + core * i for i in range(1, count)), length]
    for i in range(count):
        start = min(core * i, length - size)
        first = 1 if i == 0 else risen(edges[i])
        last = 0 if i == count - 1 else risen(edges[i + 1])
        weights = np.broadcast_to(first - last, (length,))
        yield slice(start, start + size), weights[start : start + size].astype(np.float32)
