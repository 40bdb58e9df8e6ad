"""Photos restored within a budget of memory, with what there is to say about it."""

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tqdm import tqdm

from deblurgan.restoration import tiles
from deblurgan.restoration.explosions import Guard
from deblurgan.restoration.photo_files import Photo
from deblurgan.restoration.restraint import keep

DELAY = 3
"""Seconds after which a bar shows how many tiles of a photo are done."""


@dataclass(frozen=True)
class Look:
    """What is found out about a photo before it is restored: whether it is better left as it is, and words to say.

    `kernel` is a picture, a PNG, of the blur that was found, where one was looked for.
    """

    leave: bool = False
    said: str = ""
    kernel: bytes = b""


class Restorer:
    """Deblurs photos.

    Parameters
    ----------
    method
        What restores: `neural.network` or `classical.algorithm`.
    tile
        Side of the tiles, pixels; `auto`: the whole photo if it fits into the memory; `off`: always the whole.
    memory
        Budget of a photo's restoration, GB. It holds whatever `tile` is.
    strength
        0 leaves photos as they are, 1 deblurs them fully.
    guard
        What looks at the method's results, if anything does.

    Examples
    --------
    >>> import numpy as np
    >>> from deblurgan.restoration.classical import algorithm
    >>> restorer = Restorer(algorithm("unsharp", in_light=True), strength=0.5)
    >>> grey = np.zeros((48, 64, 3), np.float32)
    >>> photo = Photo(grey, grey=False, sixteen_bit=False, alpha=None, kept={})
    >>> restorer.restored(photo).colours.shape
    (48, 64, 3)
    """

    def __init__(
        self,
        method: tiles.Method,
        *,
        tile: int | Literal["auto", "off"] = "auto",
        memory: float = tiles.MEMORY,
        strength: float = 1.0,
        guard: Guard | None = None,
    ) -> None:
        self.method, self.tile, self.memory, self.strength = method, tile, memory, strength
        self.guard = guard
        self.said: set[str] = set()
        self.watched: Callable | None = None
        """What yields a photo's tiles one by one, see `tiles.restore`; None: a bar."""
        self.told: Callable[[str, float], None] | None = None
        """What is told of a look that takes long: what is done, and the share of it from 0 to 1; None: a bar."""

    def check(self, size: tuple[int, int]) -> None:
        """Refuse a photo of (height, width) that cannot be restored within the memory.

        Raises
        ------
        UserError
            It cannot.
        """
        self.tile_of((*size, 3))

    def look(self, photo: Photo) -> Look:
        """Look at a photo before it is restored."""
        return Look()

    def left_out(self) -> str:
        """What the guard has to say since it was asked last; empty if nothing."""
        return self.guard.in_words() if self.guard else ""

    def tile_of(self, shape: tuple[int, ...]) -> int | None:
        """How to cut a photo; None: not at all."""
        if self.tile == "auto":
            return tiles.tile_for(self.method, shape, self.memory)
        tile = None if self.tile == "off" else self.tile
        tiles.check_tile(self.method, shape, tile, self.memory)
        return tile

    def warning(self, shape: tuple[int, ...]) -> str | None:
        """A warning for photos of this shape, if the overlap of their tiles makes several times the work; else None."""
        tile = self.tile_of(shape)
        if tile is None or (times := self.method.work(shape, tile)) <= tiles.OVERLAP:
            return None
        said = f"tiles of {tile} pixels with margins of {self.method.margin} make {times:.1f} times the photo's work"
        enough = tiles.tile_enough(self.method, shape)
        if enough is None:
            return said
        memory = math.ceil(10 * self.method.gigabytes(shape, enough)) / 10
        options = [f"--tile {enough}"] * (self.tile != "auto")
        options += [f"--memory {memory:g}"] * (self.tile == "auto" or memory > self.memory)
        return f"{said}; with {' '.join(options)} it is {tiles.OVERLAP:g} times at most"

    def restored(self, photo: Photo) -> Photo:
        """Deblur one photo, which comes back itself where it is hardly blurred.

        A bar shows the tiles where they take long, and a line says when they overlap widely.
        """
        tile = self.tile_of(photo.colours.shape)
        warning = self.warning(photo.colours.shape)
        if warning and warning not in self.said:  # once for photos of one size, or frames of a clip
            tqdm.write(f"deblur: warning: {warning}", file=sys.stderr)
            self.said.add(warning)
        bar = functools.partial(tqdm, desc="tiles", unit="tile", leave=False, delay=DELAY, file=sys.stderr)
        found = tiles.restore(self.method, photo.colours, tile, self.watched or bar)
        if self.guard and self.guard.untouched:
            return photo
        keep(self.strength, photo.colours, found)
        return replace(photo, colours=found)
