"""Photos that are there twice."""

from collections.abc import Iterable, Sequence

import imagehash
import numpy as np
from PIL import Image


def fingerprint(grey: Image.Image) -> int:
    """The 64-bit difference hash of a photo: near duplicates differ in few bits, other photos in 20 and more."""
    return int(str(imagehash.dhash(grey)), 16)


def near_duplicates(photos: Iterable[tuple[str, int]], distance: int | None, *, chain: bool) -> dict[str, str]:
    """Find photos that look like an earlier one.

    Parameters
    ----------
    photos
        Names and fingerprints, in the order in which they take precedence.
    distance
        Largest number of differing bits; None finds nothing.
    chain
        Whether a photo that is itself a near duplicate counts as an earlier one.

    Returns
    -------
    dict
        Name of each near duplicate to the name of the most similar earlier photo.
    """
    names: list[str] = []
    hashes = np.empty(1024, np.uint64)
    found: dict[str, str] = {}
    if distance is None:
        return found
    for name, value in photos:
        seen = len(names)
        distances = np.bitwise_count(hashes[:seen] ^ np.uint64(value))
        nearest = int(distances.argmin()) if seen else 0
        near = bool(seen) and int(distances[nearest]) <= distance
        if near:
            found[name] = names[nearest]
        if not near or chain:
            if seen == len(hashes):
                hashes = np.concatenate([hashes, np.empty_like(hashes)])
            hashes[seen] = value
            names.append(name)
    return found


def across_groups(photos: Sequence[tuple[str, int, str]], distance: int | None) -> dict[str, str]:
    """Find photos that look like one of another group.

    Parameters
    ----------
    photos
        Names, fingerprints and groups.
    distance
        Largest number of differing bits; None finds nothing.

    Returns
    -------
    dict
        Name of each such photo to the name of the most similar one of another group, the first of equals.
    """
    found: dict[str, str] = {}
    for group in {group for _, _, group in photos} if distance is not None else ():
        others = [(name, value) for name, value, other in photos if other != group]
        hashes = np.array([value for _, value in others], np.uint64)
        for name, value, own in photos:
            if own == group and others:
                distances = np.bitwise_count(hashes ^ np.uint64(value))
                nearest = int(distances.argmin())
                if int(distances[nearest]) <= distance:
                    found[name] = others[nearest][0]
    return found


def exact_duplicates(photos: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Find photos whose content an earlier one has: name of each to the name of the first."""
    first: dict[str, str] = {}
    return {name: first[content] for name, content in photos if first.setdefault(content, name) != name}
