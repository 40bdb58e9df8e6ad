"""Where an image belongs: its data set, split, scene and kind, and its partner.

Below `data/source` and `data/clean` a photo of Unsplash is `unsplash/{sharp,blurred}/<photo>`, a paired image is
`pairs/<data set>/<part>/<scene>/{blur,sharp}/<frame>`, and a frame of high-speed video
`pairs/<data set>/<part>/<scene>/frames/<frame>`. The part is the source's own split, or `unsplit`.
A pair is two files of the same name under sibling directories `blur/` and `sharp/`.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from deblurgan.errors import UserError
from deblurgan.params import Split

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

    def split(self, split: Split) -> str:
        """`train`, `val` or `test`: the source's own, except that named training scenes validate; or by a hash."""
        if self.part == UNSPLIT:
            return split_by_hash(self.scene, split)
        return "val" if self.part == "train" and self.scene in split.val_scenes else self.part


def place_of(name: PurePath) -> Place | None:
    """Read the place of an image from its path relative to `data/source` or `data/clean`; None if it has none."""
    match name.parts:
        case ("unsplash", "sharp" | "blurred" as kind, _):
            return Place("unsplash", UNSPLIT, name.stem, kind)
        case ("pairs", dataset, part, scene, "blur" | "sharp" | "frames" as kind, _):
            return Place(dataset, part, scene, kind)
    return None


def scene_of(name: PurePath | str) -> str:
    """The scene of an image that is named relative to `data/clean`: part and name make it, the name alone does not.

    A photo that stands alone is its own scene.
    """
    name = PurePosixPath(name)
    return str(name.parent.parent if name.parts[0] == "pairs" else name)


def files_below(root: Path | str) -> list[Path]:
    """All visible files below a directory, in an order that depends on their names alone; links are followed.

    Raises
    ------
    UserError
        A link leads nowhere or in a circle, or a name is not UTF-8.
    OSError
        A folder cannot be read.
    """
    root = Path(root)
    found: list[Path] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        if (real := os.path.realpath(folder)) in seen:
            raise UserError(f"{folder} is a link to a folder that is there already: remove it")
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    for path in found:
        if not path.is_file():
            raise UserError(f"{path} is no file that can be read: remove it, or mend the link")
        if str(path).encode(errors="replace") != os.fsencode(path):
            raise UserError(f"the name of {os.fsencode(path)!r} is not UTF-8: rename it")
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


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


def with_validation(split: Split, places: Iterable[Place]) -> Split:
    """Let training scenes validate where a source has scenes to train and to test on, and no others.

    Parameters
    ----------
    split
        Its `val_scenes` are enough for a source that has one of them.
    places
        Those of all images of the sources.

    Returns
    -------
    Split
        With a share of `val_fraction` of such a source's training scenes in `val_scenes`, by a hash of their names;
        at least one, if another one remains.
    """
    parts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for place in places:
        parts[place.dataset][place.part].add(place.scene)
    chosen: list[str] = []
    for scenes in parts.values():
        by_hash = sorted(scenes["train"], key=_position)
        if split.val_fraction and not scenes["val"] and not scenes["train"] & set(split.val_scenes):
            count = sum(_position(scene) < split.val_fraction for scene in by_hash)
            chosen += sorted(by_hash[: max(0, min(max(count, 1), len(by_hash) - 1))])
    return split.model_copy(update={"val_scenes": (*split.val_scenes, *chosen)}) if chosen else split


def _position(name: str) -> float:
    """A number in [0, 1) from a hash of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def split_by_hash(name: str, split: Split) -> str:
    """The split of a photo or scene, by a hash of its name: adding others never moves one."""
    position = _position(name)
    if position < split.test_fraction:
        return "test"
    return "val" if position < split.test_fraction + split.val_fraction else "train"


def seed_for(seed: int, *names: str) -> list[int]:
    """Entropy for `numpy.random.default_rng` that depends on names, not on their order or number."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return [seed, *(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))]
