"""Pairs of files, and which split they belong to.

A pair is two files of the same name under sibling directories `blur/` and `sharp/`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePath

from deblurgan.params import Split

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Pair:
    """A blurred image and its sharp partner."""

    blur: Path
    sharp: Path


def files_below(root: Path | str) -> list[Path]:
    """All visible files below a directory, in an order that depends on their names alone."""
    root = Path(root)
    found = (p for p in root.rglob("*") if p.is_file())
    return sorted(
        (p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts)),
        key=lambda p: p.relative_to(root).as_posix(),
    )


def partner(name: PurePath) -> PurePath | None:
    """The other half of a pair.

    Parameters
    ----------
    name
        A path relative to the folder of all data sets.

    Returns
    -------
    pathlib.PurePath or None
        `<data set>/.../<scene>/blur/<frame>` for `.../sharp/<frame>` and the reverse; None for a photo that
        stands alone, `<data set>/{sharp,blurred}/<photo>`.
    """
    other = {"blur": "sharp", "sharp": "blur"}.get(name.parent.name)
    return name.parent.with_name(other) / name.name if other and len(name.parts) > 3 else None


def find_pairs(root: Path | str) -> list[Pair]:
    """All pairs below a directory, in the order of their names."""
    blurred = [path for path in files_below(root) if path.parent.name == "blur"]
    pairs = [Pair(path, path.parent.with_name("sharp") / path.name) for path in blurred]
    return [pair for pair in pairs if pair.sharp.is_file()]


def split_of_photo(photo: str, split: Split) -> str:
    """The split of a photo, by a hash of its id: adding photos never moves one."""
    digest = hashlib.sha256(photo.encode()).digest()
    position = int.from_bytes(digest[:6], "big") / 2**48
    if position < split.test_fraction:
        return "test"
    return "val" if position < split.test_fraction + split.val_fraction else "train"


def split_of_scene(official: str, scene: str, split: Split) -> str:
    """The split of a GoPro scene: the official one, except that named training scenes validate."""
    return "val" if official == "train" and scene in split.val_scenes else official


def seed_for(seed: int, *names: str) -> list[int]:
    """Entropy for `numpy.random.default_rng` that depends on names, not on their order or number."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return [seed, *(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))]
