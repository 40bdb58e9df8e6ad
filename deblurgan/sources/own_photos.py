"""Photos of one's own, in a folder: `sharp/` and `blurred/`, without partners, nested as one likes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import files_below, fitting, home_expanded, link_or_copy
from deblurgan.sources.layouts import IMAGES

KINDS = ("sharp", "blurred")
LICENCE = "your own"
LONGEST = 200
"""Bytes of an id: what is added to it later makes a file's name that disks still take."""
SHOWN = 100
"""Names of other files that are printed."""


@dataclass(frozen=True)
class OwnPhoto:
    """A photo of the folder: its id, which no other photo has; its kind; and its path in the folder as `name`."""

    id: str
    kind: str
    name: str
    path: Path


def find_own_photos(source: str) -> tuple[list[OwnPhoto], list[str]]:
    """Find the photos of a folder.

    Parameters
    ----------
    source
        The folder.

    Returns
    -------
    photos
        Ids are names without suffix, after the names of nested folders: `walk/1.jpg` is `walk-1`. Of several photos
        that would have the same id, all but the first get a dot and a hash of their name in addition, and are split as
        the first (`layout.split_name`). Long ids are cut, and get a hash as well.
    others
        Names of files that are no images.

    Raises
    ------
    UserError
        There is no such folder, or no image in its `sharp/` and `blurred/`.
    """
    root = home_expanded(source)
    if not root.is_dir():
        raise UserError(
            f"fetch_unsplash.source = {source!r} is neither bundled, none, lite or api nor a folder or s3://bucket/prefix"
        )
    photos: dict[str, OwnPhoto] = {}
    others = [path.name for path in root.iterdir() if path.is_file() and path.suffix.lower() in IMAGES]
    for kind, path in _files(root):
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() not in IMAGES:
            others.append(name)
            continue
        id = fitting("-".join(path.relative_to(root / kind).with_suffix("").parts), LONGEST)
        if id in photos:
            id += f".{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        photos[id] = OwnPhoto(id, kind, name, path)
    if not photos:
        raise UserError(
            f"fetch_unsplash.source: {root} has no photos in sharp/ or blurred/: put sharp ones into {root / 'sharp'}, "
            f"blurred ones that have no sharp partner into {root / 'blurred'}"
        )
    return list(photos.values()), sorted(others)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for kind in KINDS:
        if (root / kind).is_dir():
            yield from ((kind, path) for path in files_below(root / kind))


def take_own(out: Path, source: str) -> Iterator[tuple[str, ...]]:
    """Link or copy the photos of a folder; yield their rows of photos.csv."""
    photos, others = find_own_photos(source)
    for name in others[:SHOWN]:
        print(f"left out {name}: no image in sharp/ or blurred/")
    if len(others) > SHOWN:
        print(f"left out {len(others) - SHOWN} more like these")
    for photo in tqdm(photos, desc="fetch_unsplash", unit="photo"):
        link_or_copy(photo.path, out / photo.kind / f"{photo.id}{photo.path.suffix.lower()}")
        yield photo.id, photo.kind, "", "", photo.name, LICENCE, "folder"
