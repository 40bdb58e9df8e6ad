"""Where an image belongs: its data set, part, scene and kind, and its partner.

Below `data/source` and `data/clean` a photo of Unsplash is `unsplash/{sharp,blurred}/<photo>`, a paired image is
`pairs/<data set>/<part>/<scene>/{blur,sharp}/<frame>`, and a frame of high-speed video
`pairs/<data set>/<part>/<scene>/frames/<frame>`. The part is the source's own split, or `unsplit`.
A pair is two files of the same name under sibling directories `blur/` and `sharp/`.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from deblurgan.files import files_below

GOPRO_SCENE = re.compile(r"GOPR\d{4}_(\d{2})_\d{2}")
"""Scenes of GoPro: clip, number of frames averaged, part of the clip."""
UNSPLIT = "unsplit"
"""The part of a data set that comes without a split of its own."""


@dataclass(frozen=True)
class Pair:
    """A blurred image and its sharp partner."""

    blur: Path
    sharp: Path


@dataclass(frozen=True)
class Place:
    """Where an image belongs; a photo that stands alone is its own scene."""

    dataset: str
    part: str
    scene: str
    kind: str


def place_of(name: PurePath) -> Place | None:
    """Read the place of an image from its path relative to `data/source` or `data/clean`; None if it has none."""
    match name.parts:
        case ("unsplash", "sharp" | "blurred" as kind, _):
            return Place("unsplash", UNSPLIT, name.stem, kind)
        case ("pairs", dataset, part, scene, "blur" | "sharp" | "frames" as kind, _):
            return Place(dataset, part, scene, kind)
    return None


def split_name(photo: str) -> str:
    """The part of a photo's id that splits it: photos that differ in suffix or folder alone stay together.

    Examples
    --------
    >>> split_name("holiday"), split_name("holiday.1a2b3c4d")
    ('holiday', 'holiday')
    """
    return re.sub(r"\.[0-9a-f]{8}$", "", photo)


def scene_of(name: PurePath | str) -> str:
    """The scene of an image that is named relative to `data/clean`: part and name make it, the name alone does not.

    A photo that stands alone is its own scene.
    """
    name = PurePosixPath(name)
    return str(name.parent.parent if name.parts[0] == "pairs" else name)


def partner(name: PurePath) -> PurePath | None:
    """The other half of a pair.

    Parameters
    ----------
    name
        A path relative to `data/source` or `data/clean`.

    Returns
    -------
    pathlib.PurePath or None
        `.../blur/<frame>` for `.../sharp/<frame>` and the reverse; None for an image that stands alone.
    """
    place = place_of(name)
    if place is None or name.parts[0] != "pairs" or place.kind == "frames":
        return None
    return name.parent.with_name({"blur": "sharp", "sharp": "blur"}[place.kind]) / name.name


def find_pairs(root: Path | str) -> list[Pair]:
    """All pairs below a directory, in the order of their names."""
    blurred = [path for path in files_below(root) if path.parent.name == "blur"]
    pairs = [Pair(path, path.parent.with_name("sharp") / path.name) for path in blurred]
    return [pair for pair in pairs if pair.sharp.is_file()]
