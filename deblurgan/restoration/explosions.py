"""Results that cannot be: a network that meets what it has not learned may give coloured mosaics instead of a photo.

Published networks do so on a few photos, mostly with local statistics and in the dark. Deblurring moves light by the
length of the blur; means over blocks that are longer hardly change by it. Where they do, the result is no restoration.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deblurgan.restoration.restraint import restrain
from deblurgan.restoration.tiles import Restore

BLOCK = 64
"""Side of the blocks whose means are compared, pixels."""
LARGEST = 0.5
"""Difference of two means, of values in [-1, 1], that no blur explains. Between blurred and sharp frames of GoPro and
REDS it is 0.32 at most."""
HARDLY = "hardly blurred for the network"


def labelled(path: Path, said: str) -> str:
    """A line about a photo, with what a guard has said of it."""
    label, _, text = said.partition(": ")
    return f"deblur: {label}: {path}: {text}"


def exploded(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a result is too far from its input to be a restoration of it.

    Parameters
    ----------
    before, after
        `float32` of one shape (H, W, 3), in [-1, 1].
    """
    return not np.abs(_means(after) - _means(before)).max() <= LARGEST  # also where a value is not finite


def _means(image: np.ndarray) -> np.ndarray:
    """Means over blocks, which are a little longer than `BLOCK` where it does not divide a side."""
    counts = []
    for axis in (0, 1):
        side = image.shape[axis]
        edges = np.linspace(0, side, max(side // BLOCK, 1) + 1).astype(int)
        image = np.add.reduceat(image, edges[:-1], axis=axis, dtype=np.float64)
        counts.append(np.diff(edges))
    return image / np.outer(*counts)[..., None]


@dataclass
class Guard:
    """A way to restore whose results are looked at.

    A tile that has exploded is made again in another way, or left as it is. The correction of a whole image that is too
    small to be a deblurring is taken back, see `restraint`.

    Parameters
    ----------
    run
        Restores an image.
    again
        Restores one where `run` has failed, if there is a more cautious way.
    """

    run: Restore
    again: Restore | None = None
    tiles: int = 0
    made_again: int = 0
    left: int = 0
    images: int = 0
    unchanged: int = 0

    def forget(self) -> None:
        """Begin anew: what happened to a photo that failed is not said of the next one."""
        self.tiles = self.made_again = self.left = self.images = self.unchanged = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Restore a tile, or give it back."""
        self.tiles += 1
        result = self.run(image)
        if not exploded(image, result):
            return result
        if self.again:
            result = self.again(image)
            if not exploded(image, result):
                self.made_again += 1
                return result
        self.left += 1
        return image

    def finish(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take back, in part or whole, what a result changes too little."""
        self.images += 1
        self.unchanged += restrain(before, after) == 0

    @property
    def untouched(self) -> bool:
        """Whether all images since the start are as they were."""
        return 0 < self.images == self.unchanged

    def in_words(self) -> str:
        """What has happened since this was asked last, `note: ...` or `warning: ...`; empty if nothing did."""
        said = []
        if self.made_again and not self.untouched:
            said.append(
                f"{self.made_again} of {self.tiles} tiles restored with global statistics instead of local ones"
            )
        if self.left:
            said.append(f"{self.left} of {self.tiles} tiles left as they are")
        hardly = f"note: {HARDLY}: left as it is" if self.unchanged else ""
        if self.images > 1 and hardly:
            hardly = f"note: {self.unchanged} of {self.images} frames {HARDLY}: left as they are"
        self.forget()
        return f"warning: the network's result was no restoration: {', '.join(said)}" if said else hardly
