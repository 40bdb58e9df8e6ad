"""Finding duplicates of photos.

Two photos look alike where their difference hashes differ in few bits and the details in them correlate. The hash alone
takes plain photos for duplicates: all clear skies grow darker upwards, whatever birds are in them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 48
"""Pixels of a thumbnail's sides."""
SMOOTH = 5.0
"""Standard deviation, pixels of the thumbnail, of what is no detail: a sky's fall in brightness."""
MIDDLE = 44
"""Pixels of a thumbnail's middle, which is looked for in the other one."""
BOXES = tuple(
    (left, top, left + side, top + side)
    for side in (41.8, 42.4, 43.1, 44, 44.9, 45.6, 46.1)
    for left in (SIDE - side) / 2 + np.array([-0.9, -0.45, 0, 0.45, 0.9])
    for top in (SIDE - side) / 2 + np.array([-0.9, -0.45, 0, 0.45, 0.9])
)
"""Where: left, top, right, bottom. A border of up to a twentieth may have been cut off either."""
SAME = 0.96
"""Least correlation of details of one photo and an altered copy of it. See `python -m benchmarks.duplicates`."""
SIMILAR = 0.8
"""Least correlation of images that are only named. Neighbouring frames of a clip have it, but for fast cameras."""


@dataclass(frozen=True)
class Look:
    """What photos are compared by: a 64-bit difference hash, and the details of a thumbnail, (`SIDE`, `SIDE`)."""

    bits: int
    detail: np.ndarray


def look(grey: Image.Image) -> Look:
    """The look of a photo, mode L: near duplicates differ in few bits of its hash, other photos as a rule in 20."""
    thumbnail = np.asarray(grey.convert("F").resize((SIDE, SIDE), Image.Resampling.BOX))
    detail = thumbnail - ndimage.gaussian_filter(thumbnail, SMOOTH)
    return Look(int(str(imagehash.dhash(grey)), 16), detail.astype(np.float16))


def correlations(detail: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike details are, where the others' middles fit best: brightness and contrast do not matter.

    Parameters
    ----------
    detail
        Of a photo, (`SIDE`, `SIDE`).
    others
        Of N photos, (N, `SIDE`, `SIDE`).

    Returns
    -------
    numpy.ndarray
        Pearson's correlation of each, in [-1, 1], (N,); 0 where there are no details.
    """
    image = Image.fromarray(detail.astype(np.float32))
    size = (MIDDLE, MIDDLE)
    parts = (image.resize(size, Image.Resampling.BICUBIC, box) for box in BOXES)
    places = _normalised(np.stack([np.asarray(part).ravel() for part in parts]))
    border = (SIDE - MIDDLE) // 2
    middles = others[:, border : border + MIDDLE, border : border + MIDDLE].reshape(-1, MIDDLE**2)
    return (_normalised(middles.astype(np.float32)) @ places.T).max(axis=1)


def _normalised(rows: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


class _Seen:
    """Photos to compare others with."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._groups: list[str] = []
        self._bits = np.empty(1024, np.uint64)
        self._details = np.empty((1024, SIDE, SIDE), np.float16)

    def add(self, name: str, its: Look, group: str = "") -> None:
        """Remember a photo."""
        seen = len(self._names)
        if seen == len(self._bits):
            self._bits = np.concatenate([self._bits, np.empty_like(self._bits)])
            self._details = np.concatenate([self._details, np.empty_like(self._details)])
        self._bits[seen], self._details[seen] = its.bits, its.detail
        self._names.append(name)
        self._groups.append(group)

    def like(self, its: Look, distance: int, least: float, *, outside: str | None = None) -> str | None:
        """The photo outside of a group that looks like this one: of the fewest differing bits, the first of equals."""
        distances = np.bitwise_count(self._bits[: len(self._names)] ^ np.uint64(its.bits))
        near = np.array([i for i in np.flatnonzero(distances <= distance) if self._groups[i] != outside], int)
        alike = near[correlations(its.detail, self._details[near]) >= least] if len(near) else near
        return self._names[alike[distances[alike].argmin()]] if len(alike) else None


def near_duplicates(photos: Iterable[tuple[str, Look]], distance: int | None) -> dict[str, str]:
    """Find altered copies of earlier photos that are none themselves: recompressed, smaller, cropped a bit, darker.

    Parameters
    ----------
    photos
        Names and looks, in the order in which they take precedence.
    distance
        Largest number of differing bits; None finds nothing.

    Returns
    -------
    dict
        Name of each near duplicate to the name of the most similar earlier photo.
    """
    if distance is None:
        return {}
    found: dict[str, str] = {}
    seen = _Seen()
    for name, its in photos:
        if like := seen.like(its, distance, SAME):
            found[name] = like
        else:
            seen.add(name, its)
    return found


def similar_before(photos: Iterable[tuple[str, Look]], distance: int | None) -> dict[str, str]:
    """Find photos that look like an earlier one, as neighbouring frames of a clip do.

    Parameters and result are as in `near_duplicates`.
    """
    if distance is None:
        return {}
    found: dict[str, str] = {}
    seen = _Seen()
    for name, its in photos:
        if like := seen.like(its, distance, SIMILAR):
            found[name] = like
        seen.add(name, its)
    return found


def across_groups(photos: Sequence[tuple[str, Look, str]], distance: int | None) -> dict[str, str]:
    """Find photos that look like one of another group, as neighbouring frames of a clip do.

    Parameters
    ----------
    photos
        Names, looks and groups.
    distance
        Largest number of differing bits; None finds nothing.

    Returns
    -------
    dict
        Name of each such photo to the name of the most similar one of another group, the first of equals.
    """
    if distance is None:
        return {}
    seen = _Seen()
    for name, its, group in photos:
        seen.add(name, its, group)
    found = ((name, seen.like(its, distance, SIMILAR, outside=group)) for name, its, group in photos)
    return {name: like for name, like in found if like}


def exact_duplicates(photos: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Find photos whose content an earlier one has: name of each to the name of the first."""
    first: dict[str, str] = {}
    return {name: first[content] for name, content in photos if first.setdefault(content, name) != name}
