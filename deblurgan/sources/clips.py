"""Which images are frames of one clip, told by what they show: a number or a camera's name does not tell."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.feature import match_template

from deblurgan import heif

SIDE = 48
"""Pixels of a thumbnail's sides."""
LARGEST = 100_000_000
"""Pixels to decode at most: `clean` has not refused what is too large yet."""
SMOOTH = 5.0
"""Standard deviation, pixels of the thumbnail, of what is no detail: all streets grow brighter upwards."""
MIDDLE = slice(SIDE // 4, 3 * SIDE // 4)
"""The part that is looked for in the other thumbnail: a camera may turn by a quarter of the picture between frames."""
ALIKE = 0.6
"""Least correlation of neighbouring frames. In five clips of GoPro and REDS 113 neighbours have 0.71 or more, and 0.60
or more where each second frame is left out; of 322 neighbours in KODAK and BSDS500, unrelated photos, one has."""


def thumbnail(path: Path) -> np.ndarray | None:
    """The details of an image, (`SIDE`, `SIDE`); None where it is no image, is too large, or has no details."""
    try:
        with heif.opened_file(path) as image:
            image.draft("L", (2 * SIDE, 2 * SIDE))  # JPEG is decoded no larger than is needed
            if image.width * image.height > LARGEST:
                return None
            grey = image.convert("L").convert("F")
    except Exception:  # decoders raise anything on garbage; cleaning says more
        return None
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    detail = small - ndimage.gaussian_filter(small, SMOOTH)
    return detail if detail[MIDDLE, MIDDLE].std() > 1e-3 else None


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """How well the middle of one thumbnail is found in the other, or the reverse: Pearson's correlation, at most 1."""
    return max(float(match_template(a, b[MIDDLE, MIDDLE]).max()) for a, b in ((one, other), (other, one)))


def clips(images: Iterable[tuple[str, np.ndarray | None]]) -> dict[str, str]:
    """Join images with their neighbours where these look alike.

    Parameters
    ----------
    images
        Names and thumbnails, in the order of their numbers.

    Returns
    -------
    dict
        The name of each image to the name of the first image of its clip.
    """
    images = list(images)
    first = {name: name for name, _ in images[:1]}
    for (before, its), (name, seen) in pairwise(images):
        alike = its is not None and seen is not None and likeness(its, seen) >= ALIKE
        first[name] = first[before] if alike else name
    return first
