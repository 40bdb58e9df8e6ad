"""Where the results of an object go: keys that no other object has."""

import hashlib

from deblurgan.files import shortened

LONGEST = 1024
"""Bytes of a key of S3."""


def photo_key(key: str) -> str:
    """Key of the resized and of the deblurred photo.

    Examples
    --------
    >>> photo_key("photos/a.jpg")
    'photos/a.jpg.png'
    """
    return _within_limit(key, ".png")


def rejection_key(key: str) -> str:
    """Key of the report on a photo that is refused, in the bucket of the resized ones.

    Examples
    --------
    >>> rejection_key("photos/a.jpg")
    'rejected/photos/a.jpg.json'
    """
    return _within_limit(f"rejected/{key}", ".json")


def _within_limit(name: str, suffix: str) -> str:
    """The name and the suffix, or a hash in the place of what is too long."""
    if len((name + suffix).encode()) <= LONGEST:
        return name + suffix
    end = f"~{hashlib.sha256(name.encode()).hexdigest()}{suffix}"
    return shortened(name, LONGEST - len(end)) + end
