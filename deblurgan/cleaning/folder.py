"""Cleaning a folder of sources: every file ends as a clean PNG or as a row with the reason why not."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from deblurgan.cleaning.conversion import Rejected, load_photo
from deblurgan.cleaning.duplicates import Look, across_groups, exact_duplicates, look, near_duplicates, similar_before
from deblurgan.cleaning.photo import TOO_LARGE, cleaned, largest_file
from deblurgan.cleaning.sharpness import blurriness, doubt, preview
from deblurgan.files import files_below, link_or_copy, naming, sha256_of
from deblurgan.images import write_png
from deblurgan.layout import partner, place_of, scene_of
from deblurgan.parallel import each
from deblurgan.params import Clean

MISSING_PARTNER = "missing partner"
OTHER_SIZE = "partner of another size"
SAME_NAME = "another file has the same name"
NO_PLACE = "not where a photo belongs"
EXACT = "exact duplicate"
NEAR = "near duplicate"
FOLDERS = ("pairs", "unsplash")
"""The folders that the sources write; anything beside them is left alone."""
NOTES = {"photos.csv", "left_out.csv"}
"""Files that accompany photos and are no photos."""


@dataclass(frozen=True)
class KeptImage:
    """A row of manifest.csv: paths relative to the clean and to the source folder, size in bytes and pixels."""

    path: str
    sha256: str
    bytes: int
    width: int
    height: int
    source: str


@dataclass(frozen=True)
class RejectedImage:
    """A row of rejected.csv; `of` is the file that a duplicate duplicates."""

    path: str
    reason: str
    of: str = ""


@dataclass(frozen=True)
class Label:
    """A row of labels.csv: what a clean image is, how blurred it measures, and what speaks against its label."""

    path: str
    dataset: str
    scene: str
    kind: str
    blurriness: float
    near_duplicate_of: str
    doubt: str


@dataclass(frozen=True)
class _Job:
    """All source files that would become one clean image, best name first, and the blurred half of its pair."""

    name: str
    sources: tuple[Path, ...]
    target: Path
    settings: Clean
    blur: Path | None


@dataclass(frozen=True)
class _Measured:
    """A clean image and what the comparison with others needs."""

    row: KeptImage
    pixels: str
    look: Look
    blurriness: float


def clean_folder(
    source: Path, target: Path, settings: Clean
) -> tuple[list[KeptImage], list[RejectedImage], list[Label]]:
    """Clean all files below `source`/pairs and /unsplash into the same layout below `target`.

    Parameters
    ----------
    source, target
        Folders; `target` exists and is empty.
    settings
        What is refused, what is filtered.

    Returns
    -------
    kept, refused, labels
        In the order of their paths. `kept` and `refused` together name every file once; each kept one has a label.
    """
    good: dict[str, _Measured] = {}
    refused: list[RejectedImage] = []
    for measured, faults in each(_clean, list(_jobs(source, target, settings)), label="clean", unit="image"):
        if measured:
            good[measured.row.path] = measured
        refused += [RejectedImage(path.relative_to(source.resolve()).as_posix(), reason) for path, reason in faults]

    def reject(faults: dict[str, tuple[str, str]]) -> None:
        for name, (reason, original) in faults.items():
            refused.append(RejectedImage(good.pop(name).row.source, reason, original))
            (target / name).unlink()

    reject({name: (fault, "") for name, image in good.items() if (fault := _pair_fault(image.row, good))})
    reject({name: (EXACT, good[original].row.source) for name, original in _exact(good).items()})
    reject({name: (NEAR, good[original].row.source) for name, original in _near_photos(good, settings).items()})
    kept = [good[name].row for name in sorted(good)]
    return kept, sorted(refused, key=lambda row: row.path), list(_labels(good, settings))


def _jobs(source: Path, target: Path, settings: Clean) -> Iterator[_Job]:
    source, target = source.resolve(), target.resolve()  # a worker may have another current directory
    groups: dict[PurePosixPath, list[Path]] = defaultdict(list)
    for path in (path for folder in FOLDERS for path in files_below(source / folder)):
        if path.name not in NOTES:
            groups[PurePosixPath(path.relative_to(source)).with_suffix(".png")].append(path)
    for name, paths in groups.items():
        blur = None
        if settings.equalize and name.parent.name == "sharp" and (other := partner(name)):
            blur = groups.get(PurePosixPath(other), [None])[0]
        yield _Job(str(name), tuple(paths), target / name, settings, blur)


def _clean(job: _Job) -> tuple[_Measured | None, list[tuple[Path, str]]]:
    """Clean one image; the files that could not be used, with their reasons."""
    done: _Measured | None = None
    faults: list[tuple[Path, str]] = []
    for path in job.sources:
        try:
            if done:
                raise Rejected(SAME_NAME)
            if place_of(PurePosixPath(job.name)) is None:
                raise Rejected(NO_PLACE)
            done = _clean_file(path, job)
        except Rejected as reason:
            faults.append((path, str(reason)))
    return done, faults


def _clean_file(path: Path, job: _Job) -> _Measured:
    if path.stat().st_size > largest_file(job.settings):
        raise Rejected(TOO_LARGE)
    data = path.read_bytes()
    image, untouched = cleaned(data, job.settings, _partner_image(job.blur, job.settings))
    with naming(job.target):
        if untouched:
            link_or_copy(path, job.target)
        else:
            write_png(job.target, np.asarray(image))
            data = job.target.read_bytes()
    source = path.relative_to(path.parents[len(PurePosixPath(job.name).parts) - 1]).as_posix()
    row = KeptImage(job.name, hashlib.sha256(data).hexdigest(), len(data), image.width, image.height, source)
    pixels = hashlib.sha256(f"{image.size}".encode())
    pixels.update(image.tobytes())
    small = preview(image)
    return _Measured(row, pixels.hexdigest(), look(small), blurriness(small))


def _partner_image(path: Path | None, settings: Clean) -> Image.Image | None:
    try:
        data = path.read_bytes() if path else b""
        return load_photo(data, min_side=settings.min_side, max_pixels=settings.max_pixels)[0]
    except Rejected:
        return None  # there is none, or the pair is refused for it


def _pair_fault(row: KeptImage, good: dict[str, _Measured]) -> str | None:
    """Why half a pair cannot be used; None for a good half and for a photo that stands alone."""
    other_name = partner(PurePosixPath(row.path))
    if other_name is None:
        return None
    other = good.get(str(other_name))
    if other is None:
        return MISSING_PARTNER
    return OTHER_SIZE if (other.row.width, other.row.height) != (row.width, row.height) else None


def _exact(good: dict[str, _Measured]) -> dict[str, str]:
    """Photos with the pixels of an earlier photo, and pairs that equal an earlier pair in both halves."""
    contents = []
    for name in sorted(good):
        other = partner(PurePosixPath(name))
        place = place_of(PurePosixPath(name))
        if place is None or place.kind == "frames":
            continue
        if other is None:
            contents.append((name, good[name].pixels))
        else:
            contents.append((name, f"{place.kind} {good[name].pixels} {good[str(other)].pixels}"))
    return exact_duplicates(contents)


def _near_photos(good: dict[str, _Measured], settings: Clean) -> dict[str, str]:
    """Photos that stand alone and look like an earlier one of their kind."""
    found: dict[str, str] = {}
    for prefix in ("unsplash/blurred/", "unsplash/sharp/"):
        photos = [(name, good[name].look) for name in sorted(good) if name.startswith(prefix)]
        found |= near_duplicates(photos, settings.near_duplicate)
    return found


def _labels(good: dict[str, _Measured], settings: Clean) -> Iterator[Label]:
    """Describe each clean image. In pairs, near duplicates are only named: neighbouring frames are alike.

    Of several such images, one of another scene is named: the two may come into different splits.
    """
    places = {name: place for name in sorted(good) if (place := place_of(PurePosixPath(name)))}
    sharp = [
        (name, good[name].look, scene_of(name)) for name, place in places.items() if place.kind in ("sharp", "frames")
    ]
    paired = ((name, its) for name, its, _ in sharp if name.startswith("pairs/"))
    near = similar_before(paired, settings.near_duplicate)
    near |= across_groups(sharp, settings.near_duplicate)
    for name, place in places.items():
        image, other = good[name], partner(PurePosixPath(name))
        against = doubt(place.kind, image.blurriness, good[str(other)].blurriness if other else None)
        yield Label(
            name,
            place.dataset,
            place.scene,
            place.kind,
            image.blurriness,
            near.get(name, ""),
            against,
        )


def check_manifest(target: Path, rows: list[dict[str, str]]) -> list[str]:
    """Compare clean images with the checksums of their manifest.

    Parameters
    ----------
    target
        The clean folder.
    rows
        The rows of manifest.csv, by column name.

    Returns
    -------
    list of str
        One line for each file that is missing, changed, or not in the manifest; empty when all is as recorded.
    """
    if missing := {field.name for field in fields(KeptImage)} - set(rows[0] if rows else {}):
        return [f"manifest.csv: no column {', '.join(sorted(missing))}"]
    found = {path.relative_to(target).as_posix() for path in files_below(target) if path.suffix != ".csv"}
    job = [(str(target.resolve() / row["path"]), row["sha256"]) for row in rows]
    states = each(_state, job, label="verify", unit="image")
    faults = [f"{target / row['path']}: {state}" for row, state in zip(rows, states, strict=True) if state]
    return faults + [f"{target / name}: not in the manifest" for name in sorted(found - {row["path"] for row in rows})]


def _state(job: tuple[str, str]) -> str:
    path, expected = job
    try:
        return "" if sha256_of(path) == expected else "changed: its checksum is not the manifest's"
    except OSError as error:
        return f"{error.strerror}"
