"""Restoring images of any size within a budget of memory, whole or in tiles that overlap.

A tile is restored with a margin around it, as wide as the method reaches, so that tiles give what the whole gives.
Some methods look at the whole tile: instance norm takes its mean and variance over all pixels that the network is
shown. Their results differ from tile to tile, so neighbouring tiles are blended over a ramp. Images that fit into the
memory are restored whole.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from deblurgan.errors import UserError
from deblurgan.images import to_float, to_uint8

MEMORY = 2.5
"""Default budget of one photo's restoration, GB."""

IMAGE_BYTES = 60
"""Memory for a pixel: all copies of the image, of its result and of the comparison that exist at once."""

RAMP = 32
"""Pixels over which two tiles are blended."""

OVERLAP = 3.0
"""From this many times the work of the image itself, the overlap of tiles is worth a warning."""

SIZES = 4
"""A method of few sizes sees this many different lengths between one power of two and the next."""
APART = 64
"""Least difference of two such lengths, pixels."""

Restore = Callable[[np.ndarray], np.ndarray]
"""From a blurred image, `float32` of shape (H, W, 3) in [-1, 1], to the restored one."""


@dataclass(frozen=True)
class Method:
    """A way to restore images, and what it takes.

    Parameters
    ----------
    run
        Restores an image whose sides are multiples of `step`.
    reach
        Pixels to each side that a restored pixel depends on.
    bytes
        Of memory for a pixel, while it is restored.
    step
        What the sides of images are multiples of.
    few_sizes
        Whether each new size costs memory or time, so that images are mirrored below and right up to one of few.
    black
        Whether images are padded with black below and right, instead of being mirrored.
    finish
        Looks at the image and its whole result, and changes the result in place, if anything does.
    largest_tile
        Side from which larger tiles gain nothing, pixels: larger images are cut even where they fit into the memory,
        unless the margins need larger tiles.
    """

    run: Restore
    reach: int
    bytes: float
    step: int = 1
    few_sizes: bool = False
    black: bool = False
    finish: Callable[[np.ndarray, np.ndarray], None] | None = None
    largest_tile: float = math.inf

    @property
    def margin(self) -> int:
        """Pixels at the border of a tile that do not count: they see what lies beyond it, or are blended."""
        return _up(self.reach + RAMP // 2, self.step)

    @property
    def smallest_tile(self) -> int:
        """The smallest side of a tile, pixels."""
        return _up(2 * self.margin + RAMP, self.step)

    @property
    def largest(self) -> float:
        """The largest side of a tile, pixels."""
        return max(self.largest_tile, self.smallest_tile)

    def shown(self, side: int) -> int:
        """The length that a side of an image is mirrored up to."""
        if not self.few_sizes:
            return _up(side, self.step)
        apart = max(APART, 2 ** math.ceil(math.log2(side)) // (2 * SIZES))
        return _up(side, math.lcm(apart, self.step))

    def gigabytes(self, shape: tuple[int, ...], tile: int | None) -> float:
        """Memory that an image of shape (H, W, 3) takes, in tiles of this side or whole."""
        height, width = (self.shown(side) for side in shape[:2])
        if tile is not None:
            height, width = min(height, tile), min(width, tile)
        return (IMAGE_BYTES * shape[0] * shape[1] + self.bytes * height * width) / 1e9

    def work(self, shape: tuple[int, ...], tile: int | None) -> float:
        """Pixels that are restored, margins included, for each pixel of an image."""
        sides = [self.shown(side) for side in shape[:2]]
        tile = tile or max(sides)
        height, width = (_count(side, tile, self.margin) * min(side, tile) for side in sides)
        return height * width / (shape[0] * shape[1])


def deblur(method: Method, image: np.ndarray) -> np.ndarray:
    """Deblur one image, in tiles if the whole would take more than the default budget, on top of the image itself.

    Parameters
    ----------
    method
        What restores it.
    image
        `uint8` of shape (H, W, 3), of any size.

    Returns
    -------
    numpy.ndarray
        `uint8` of the same shape.
    """
    memory = MEMORY + IMAGE_BYTES * image.shape[0] * image.shape[1] / 1e9
    return to_uint8(restore(method, to_float(image), tile_for(method, image.shape, memory)))


def restore(method: Method, image: np.ndarray, tile: int | None = None, watched: Callable = iter) -> np.ndarray:
    """Deblur one image, without rounding.

    Parameters
    ----------
    method
        What restores it.
    image
        `float32` of shape (H, W, 3) in [-1, 1], of any size. It is mirrored, or padded with black, below and right up
        to a size that the method takes, and cut back afterwards.
    tile
        Side of the squares that the method is shown, pixels; rounded up to a multiple of its step. None: the whole.
    watched
        Called with the list of tiles; yields them one by one. For a bar of progress.

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
    # positions of all rows and columns of the mirrored image: a copy of it would take as much memory again
    rows, columns = (np.pad(np.arange(side), (0, method.shown(side) - side), "symmetric") for side in (height, width))
    tile = max(len(rows), len(columns)) if tile is None else _up(tile, method.step)
    _check_margins(method, image.shape, tile)
    across = list(_spans(len(columns), tile, method.margin))
    tiles = [(down, right) for down in _spans(len(rows), tile, method.margin) for right in across]
    restored = np.zeros(image.shape, np.float32)
    for (down, row_shares), (right, column_shares) in watched(tiles):
        shown = image[rows[down, None], columns[right]]  # (h, w, 3)
        if method.black:
            shown[height - down.start :] = -1
            shown[:, width - right.start :] = -1
        part = method.run(shown)
        shares = row_shares[:, None] * column_shares  # (h, w)
        inside = restored[down, right]  # a view, smaller than the tile where that is mirrored
        size = inside.shape[:2]
        inside += (part * shares[..., None])[: size[0], : size[1]]
    np.clip(restored, -1, 1, out=restored)
    if method.finish:
        method.finish(image, restored)
    return restored


def tile_for(method: Method, shape: tuple[int, ...], memory: float = MEMORY) -> int | None:
    """Choose how to cut an image so that its restoration keeps within a budget.

    Parameters
    ----------
    method
        What restores it.
    shape
        (H, W, 3).
    memory
        GB for the image, its result and what the method needs for one tile.

    Returns
    -------
    int or None
        Side of the tiles, pixels; None: restore the whole.

    Raises
    ------
    UserError
        The image alone takes more, or hardly less.
    """
    sides = [method.shown(side) for side in shape[:2]]
    if method.gigabytes(shape, None) <= memory and max(sides) <= method.largest:
        return None
    area = max(memory * 1e9 - IMAGE_BYTES * shape[0] * shape[1], 0) / method.bytes
    side = min(max(math.sqrt(area), area / min(sides)), method.largest)  # one longer than an image's short side
    side = int(side)
    if method.few_sizes and side // APART * APART >= method.smallest_tile:
        side = side // APART * APART
    side = side // method.step * method.step
    if side < method.smallest_tile:
        raise UserError(_too_little(shape, method.gigabytes(shape, method.smallest_tile), memory))
    return side


def check_tile(method: Method, shape: tuple[int, ...], tile: int | None, memory: float) -> None:
    """Refuse an image whose restoration in tiles of this side, or whole, takes more than a budget.

    Raises
    ------
    UserError
        It does, or a tile is not larger than the margins it needs.
    """
    if tile is not None:
        _check_margins(method, shape, tile)
    needed = method.gigabytes(shape, tile)
    if needed > memory:
        fitting = tile_for(method, shape, memory)  # raises where there are none
        how = "whole" if tile is None else f"in tiles of {tile}"
        raise UserError(f"{_too_little(shape, needed, memory, how)}; tiles of {fitting} fit")


def tile_enough(method: Method, shape: tuple[int, ...], work: float = OVERLAP) -> int | None:
    """The least side of tiles whose overlap makes no more than so many times the image's work; None: there is none."""
    tile = method.smallest_tile
    while tile < max(shape[:2]) and method.work(shape, tile) > work:
        tile += method.step
    return tile if tile <= method.largest else None


def _check_margins(method: Method, shape: tuple[int, ...], tile: int) -> None:
    if _up(tile, method.step) < min(max(map(method.shown, shape[:2])), method.smallest_tile):
        raise UserError(f"tiles of {tile} pixels are too small: {method.smallest_tile} or more are needed")


def _too_little(shape: tuple[int, ...], needed: float, memory: float, how: str = "") -> str:
    needed = math.ceil(10 * needed) / 10
    return f"{shape[1]}x{shape[0]} pixels {how}{' ' * bool(how)}need {needed:.1f} GB of memory or more, not {memory:g}"


def _up(length: float, step: int) -> int:
    """The next multiple of a step."""
    return math.ceil(length / step) * step


def _count(length: int, tile: int, margin: int) -> int:
    """How many spans a side is cut into."""
    return 1 if tile >= length else math.ceil((length - 2 * margin) / (tile - 2 * margin))


def _spans(length: int, tile: int, margin: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut a side into equal overlapping spans, each with its share, 0 to 1, of every pixel in it.

    Where spans meet, the share of the earlier one falls over a ramp while the later one's rises; the shares of a pixel
    sum to 1. The middle of the ramp is a margin away from the ends of both spans, so that no pixel with a share lies
    nearer to an end than the method looks.
    """
    size, core, count = min(tile, length), tile - 2 * margin, _count(length, tile, margin)
    centres = np.arange(length) + 0.5  # of the pixels, (length,)

    def ramp(meeting: int) -> np.ndarray:
        """0 before the meeting of two spans, 1 behind it, RAMP pixels of slope between: (length,)."""
        return np.clip((centres - meeting) / RAMP + 0.5, 0, 1).astype(np.float32)

    ramps = map(ramp, (margin + core * i for i in range(1, count)))
    first, last = np.ones(length, np.float32), np.zeros(length, np.float32)  # nothing meets the ends of the side
    for i, (rise, next_rise) in enumerate(itertools.pairwise(itertools.chain([first], ramps, [last]))):
        start = min(core * i, length - size)  # the last span is moved back into the side
        span = slice(start, start + size)
        yield span, rise[span] - next_rise[span]  # (size,)
