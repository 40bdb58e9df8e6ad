"""Cleaning a folder of sources: every file ends as a clean PNG or as a row with the reason why not."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deblurgan.hygiene import Rejected, load_photo, write_clean
from deblurgan.pairs import files_below, partner
from deblurgan.params import Clean

MISSING_PARTNER = "missing partner"
OTHER_SIZE = "partner of another size"
SAME_NAME = "another file has the same name"
NOTES = {"photos.csv"}
"""Files that accompany photos and are no photos."""


@dataclass(frozen=True)
class Kept:
    """A row of manifest.csv: paths relative to the clean and to the source folder, size in pixels."""

    path: str
    sha256: str
    width: int
    height: int
    source: str


@dataclass(frozen=True)
class Refused:
    """A row of rejected.csv."""

    path: str
    reason: str


def clean_folder(
    source: Path, target: Path, settings: Clean, watched: Callable[[list[Path]], Iterable[Path]] = iter
) -> tuple[list[Kept], list[Refused]]:
    """Clean all files below `source` into the same layout below `target`.

    Parameters
    ----------
    source, target
        Folders; `target` exists and is empty.
    settings
        What is refused.
    watched
        Wraps the list of files that is worked through, to show progress.

    Returns
    -------
    kept, refused
        In the order of their paths; together they name every file once.
    """
    kept: dict[str, Kept] = {}
    refused: list[Refused] = []
    for path in watched([p for p in files_below(source) if p.name not in NOTES]):
        name = path.relative_to(source).as_posix()
        clean_name = str(PurePosixPath(name).with_suffix(".png"))
        try:
            if clean_name in kept:
                raise Rejected(SAME_NAME)
            kept[clean_name] = _clean_file(path, target / clean_name, settings, clean_name, name)
        except Rejected as reason:
            refused.append(Refused(name, str(reason)))
    faults = {name: fault for name, row in kept.items() if (fault := _pair_fault(row, kept))}
    for name, fault in faults.items():
        refused.append(Refused(kept.pop(name).source, fault))
        (target / name).unlink()
    return [kept[name] for name in sorted(kept)], sorted(refused, key=lambda row: row.path)


def _clean_file(path: Path, target: Path, settings: Clean, clean_name: str, name: str) -> Kept:
    data = path.read_bytes()
    image, untouched = load_photo(data, min_side=settings.min_side, max_pixels=settings.max_pixels)
    write_clean(data, image, untouched, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return Kept(clean_name, digest, image.width, image.height, name)


def _pair_fault(row: Kept, kept: dict[str, Kept]) -> str | None:
    """Why half a pair cannot be used; None for a good half and for a photo that stands alone."""
    other_name = partner(PurePosixPath(row.path))
    if other_name is None:
        return None
    other = kept.get(str(other_name))
    if other is None:
        return MISSING_PARTNER
    return OTHER_SIZE if (other.width, other.height) != (row.width, row.height) else None
