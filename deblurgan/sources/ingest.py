"""Bringing pairs from wherever they are into the pipeline's layout."""

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from deblurgan import heif
from deblurgan.errors import UserError
from deblurgan.files import cache_directory, files_below, home_expanded, sha256_of
from deblurgan.params import IngestGopro
from deblurgan.sources import gopro, kaggle
from deblurgan.sources.clips import clips, thumbnail
from deblurgan.sources.folders_and_zips import open_tree
from deblurgan.sources.layouts import Entry, place_in_row, recognise
from deblurgan.sources.web import address_for_people, download


def locate(settings: IngestGopro) -> Path:
    """Find the folder or zip archive that `source` means, after downloading it if it is elsewhere.

    Raises
    ------
    UserError
        The source cannot be read or downloaded, or its checksum is another.
    """
    source = settings.source
    if source.startswith("kaggle:"):
        if settings.sha256:
            raise UserError("ingest_gopro.sha256 is for a zip; a version of Kaggle is fixed anyway: set it to null")
        return kaggle.fetch(source.removeprefix("kaggle:"))
    if "://" not in source:
        path = home_expanded(source)
        if settings.sha256 and path.is_dir():
            raise UserError(f"ingest_gopro.sha256 is for a zip, and {path} is a folder: set it to null")
        expected = settings.sha256 or gopro.PUBLISHED.get(path.name)
        if expected and path.is_file() and (found := sha256_of(path)) != expected:
            raise UserError(f"{path} has the SHA-256 {found}, and {expected} is expected: copy it again")
        if not path.exists():
            raise UserError(f"ingest_gopro.source = {source!r} is neither 'bundled' nor a folder, a zip or an address")
        return path
    shown = address_for_people(source)
    try:
        address = urlsplit(source)
    except ValueError:
        raise UserError(f"ingest_gopro.source = {shown} is no https://... address of a zip") from None
    name = Path(address.path).name
    expected = settings.sha256 or gopro.PUBLISHED.get(name)
    if address.scheme not in ("https", "http") or not address.hostname or not name:
        raise UserError(f"ingest_gopro.source = {shown} is no https://... address of a zip")
    if address.scheme == "http" and not expected:
        raise UserError(f"{shown} is not encrypted: give the archive's ingest_gopro.sha256, or an https:// address")
    key = hashlib.sha256(f"{source} {expected}".encode()).hexdigest()[:8]
    target = cache_directory() / "archives" / f"{key}-{name}"
    download(source, target, sha256=expected)
    return target


def ingest(
    path: Path, out: Path, settings: IngestGopro, watched: Callable[[list[Entry]], Iterable[Entry]] = iter
) -> list[str]:
    """Put the pairs of a folder or zip archive below `out`, `<data set>/<part>/<scene>/<kind>/<frame>`.

    Parameters
    ----------
    path
        The folder or archive.
    out
        Exists and is empty.
    settings
        Which blurred version, and the data set's name.
    watched
        Wraps the list that is worked through, to show progress.

    Returns
    -------
    list of str
        What is odd about the source, a line for each file: unexpected files, missing partners, other sizes.

    Raises
    ------
    UserError
        The source holds nothing usable, is not what its name says, or needs more room than there is.
    """
    with open_tree(path) as tree:
        try:
            entries, unexpected = recognise(tree.names(), settings.blur)
            gopro.check_name(settings.dataset, entries)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        needed, free = tree.room([entry.name for entry in entries], out), shutil.disk_usage(out).free
        if needed > free:
            raise UserError(
                f"{path} needs {needed / 1e9:.1f} GB below {out.resolve().parent}, whose disk has {free / 1e9:.1f} GB "
                "left: free some, or clone this repository to a larger disk"
            )
        thumbnails = dict[Entry, np.ndarray | None]()
        for entry in watched(entries):
            target = out / settings.dataset / entry.target
            tree.put(entry.name, target)
            if entry.alone and entry.kind == "sharp":
                thumbnails[entry] = thumbnail(target)
    joined = join_clips(out / settings.dataset, entries, thumbnails)
    left_out = [f"{path}: {name} belongs to no pair, left out" for name in unexpected]
    return [f"{path}: {line}" for line in joined] + left_out + oddities(out)


def join_clips(folder: Path, entries: list[Entry], thumbnails: dict[Entry, np.ndarray | None]) -> list[str]:
    """Move pairs whose names tell no clip into one scene where neighbours look alike, called as the first of them.

    Parameters
    ----------
    folder
        Of the data set, where the entries are.
    entries
        All images.
    thumbnails
        Of the sharp halves of pairs whose names tell no clip.

    Returns
    -------
    list of str
        A line that says so, or none.
    """
    rows: dict[str, list[Entry]] = defaultdict(list)
    for entry in thumbnails:
        rows[entry.part].append(entry)
    clip_of: dict[tuple[str, str], str] = {}
    for part, row in rows.items():
        row.sort(key=lambda entry: place_in_row(entry.scene))
        found = clips((entry.scene, thumbnails[entry]) for entry in row)
        clip_of |= {(part, scene): first for scene, first in found.items()}
    moved = [entry for entry in entries if clip_of.get((entry.part, entry.scene), entry.scene) != entry.scene]
    for entry in moved:
        target = folder / replace(entry, scene=clip_of[entry.part, entry.scene]).target
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / entry.target).rename(target)
    left = {folder / Path(entry.target).parents[level] for entry in moved for level in (0, 1)}  # kinds and scenes
    for place in sorted(left, reverse=True):
        if not any(place.iterdir()):
            place.rmdir()
    if not moved:
        return []
    count = len({(part, first) for (part, _), first in clip_of.items()})
    return [
        f"the names of {len(clip_of)} pairs tell no clip, and neighbours among them look alike: taken for {count} "
        "clips, each a scene called as its first frame, so that no clip is in two splits"
    ]


def oddities(out: Path) -> list[str]:
    """Name the images without a partner, and the images of another size than most of their scene."""
    scenes: dict[Path, list[Path]] = defaultdict(list)
    for path in files_below(out):
        scenes[path.parent.parent].append(path)
    lines = []
    for paths in scenes.values():
        sizes = {path: _size(path) for path in paths}
        (usual, _), *_ = Counter(sizes.values()).most_common(1)
        there = {(path.parent.name, path.stem) for path in paths}
        for path, size in sizes.items():
            name = path.relative_to(out).as_posix()
            other = {"blur": "sharp", "sharp": "blur"}.get(path.parent.name)
            if other and (other, path.stem) not in there:
                lines.append(f"{name}: no partner in {other}/")
            if size != usual:
                lines.append(f"{name}: {size}, the others of its scene are {usual}")
    return lines


def _size(path: Path) -> str:
    try:
        with heif.opened_file(path) as image:
            return f"{image.width}x{image.height}"
    except Exception:
        return "no image"  # decoders raise anything on garbage; cleaning says more
