"""Recognising how a set of image pairs is laid out, from its file names alone.

Known are GoPro's own layout, `{train,test}/<scene>/{blur,blur_gamma,sharp}/<frame>`, and its mirrors:
`{train,test}/{input,target}/<name>`, `{blur,sharp}/images/<name>`, `DBlur/Gopro/{train,test}/{blur,sharp}/<name>`;
any `[<scene>/]{blur,sharp}/[<scene>/]<name>`; that of REDS, `train/{train_blur,train_sharp}/<scene>/<frame>`, in which
`train_blur` is read as `train/blur`; and frames of high-speed video, `[{train,test}/]<scene>/<number>`. Folders above
train and test do not matter; other folders make the scene's name, so that adding a scene never renames another.
Without such folders a pair's scene is its name up to the number at its end: `walk_0001`, `walk (2)` are frames of one
clip. Where there is nothing but a number, none at the end, or a camera has given the name (`IMG_0001`), the name says
nothing of a clip: each pair is its own scene here, and `clips` looks whether it shows what its neighbour shows.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from deblurgan import heif
from deblurgan.errors import UserError
from deblurgan.files import NAME_MAX, fitting
from deblurgan.layout import GOPRO_SCENE, UNSPLIT

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
KINDS = {"blur": "blur", "input": "blur", "blur_gamma": "blur_gamma", "sharp": "sharp", "target": "sharp"}
PREFIXED = re.compile(rf"(.+)[-_ ]({'|'.join(KINDS)})", re.IGNORECASE)
"""A folder that says two things at once: `train_blur`, `walk-sharp`."""
HALF = re.compile(
    r"(?<!d)(?<!de)blur|sharp|(?<![a-z])(?:clear|clean|gt|ground[-_ ]?truth|targets?|inputs?)(?![a-z])", re.IGNORECASE
)
"""Names that speak of blurred and sharp images: what is called so is no video. `deblur` says what a data set is for."""
IMAGES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", *heif.SUFFIXES}
"""Suffixes of what cleaning reads."""
FLAT_NAME = re.compile(r"(GOPR\d{4}_\d{2}_\d{2})[-_]?(\w+)")
"""Where mirrors have put the scene into the file's name."""
CAMERA = re.compile(r"[A-Z0-9_]{4}\d{4}")
"""How cameras number photos, whatever is on them: the standard DCF, "Design rule for Camera File system"."""
EXPECTED = re.compile(
    r"frames \d+ offset \d+\.txt|readme.*|licen[sc]e.*|\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE
)
"""Files beside the images that are usual and need no report."""


@dataclass(frozen=True)
class Entry:
    """An image of the source by its name there, and where it belongs.

    `alone`: its scene is its own name, which tells no clip.
    """

    name: str
    part: str
    scene: str
    kind: str
    frame: str
    alone: bool = False

    @property
    def target(self) -> str:
        """Its path below the data set's folder."""
        return f"{self.part}/{self.scene}/{self.kind}/{self.frame}"


@dataclass(frozen=True)
class _Read:
    """The parts of a file's path: folders above, part (if any), scene folders, kind, file."""

    name: str
    top: tuple[str, ...]
    part: str | None
    scene: tuple[str, ...]
    kind: str
    file: str


def recognise(names: Iterable[str], blur: str) -> tuple[list[Entry], list[str]]:
    """Find the pairs, or the video frames, in a list of files.

    Parameters
    ----------
    names
        Paths with forward slashes, relative to the source.
    blur
        Which blurred version to take where there are two: `blur` or `blur_gamma`. It becomes `blur`.

    Returns
    -------
    entries
        In the order of `names`, each target once.
    unexpected
        Names of files that belong to no pair and are not usual beside pairs.

    Raises
    ------
    UserError
        There are no pairs, no blurred images of that version, no sharp ones, or several sets side by side; or images
        are called like halves of pairs, but lie in no known folders.
    """
    candidates, unexpected = _sift(names)
    read = [found for name in candidates if (found := _read_pair(name))]
    pairs = bool(read)
    if not pairs:
        read = [found for name in candidates if (found := _read_frame(name))]
        if half := next((found.name for found in read if HALF.search(found.name)), None):
            raise UserError(
                f"{half} is called like half of a pair, but lies below no folder blur or sharp: call the folders so, "
                "or rename them if this is high-speed video"
            )
    known = {found.name for found in read}
    unexpected += [name for name in candidates if name not in known]
    read, others = _one_set(read)
    if not read:
        raise UserError("no pairs below folders blur and sharp, and no numbered frames of scenes")
    if pairs:
        _require_halves({found.kind for found in read}, blur)
    entries: dict[str, Entry] = {}
    for found in read:
        if found.kind in (blur, "sharp", "frames"):
            entry = _entry(found)
            if entry.target in entries:
                unexpected.append(found.name)
            entries.setdefault(entry.target, entry)
    return list(entries.values()), sorted(unexpected + others)


def _require_halves(kinds: set[str], blur: str) -> None:
    """See to it that there are blurred and sharp images."""
    if blur not in kinds:
        there = sorted(kinds - {"sharp"})
        advice = f"set ingest_gopro.blur to {there[0]}" if there else "blurred ones are missing"
        raise UserError(f"sharp images but none in a folder {blur!r}: {advice}")
    if "sharp" not in kinds:
        raise UserError("blurred images but none in a folder 'sharp': sharp ones are missing")


def _sift(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Put aside what is no image, would leave the target folder, or has a name that archives take and disks do not."""
    candidates, unexpected = [], []
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or "__MACOSX" in parts or EXPECTED.fullmatch(parts[-1]):
            continue
        safe = not name.startswith("/") and not any(
            re.search(r'^\.|[\\:*?"<>|\0]', part) or len(os.fsencode(part)) > NAME_MAX for part in parts
        )
        if safe and PurePosixPath(name).suffix.lower() in IMAGES:
            candidates.append(name)
        else:
            unexpected.append(name)
    return candidates, unexpected


def _read_pair(name: str) -> _Read | None:
    folders = PurePosixPath(name).parts[:-1]
    if folders and folders[-1].lower() == "images":
        folders = folders[:-1]
    for i in reversed(range(len(folders))):
        if kind := KINDS.get(folders[i].lower()):
            return _with_part(name, folders[:i] + folders[i + 1 :], kind)
    split = [PREFIXED.fullmatch(folder) for folder in folders]
    last = next((found[2].lower() for found in reversed(split) if found), None)
    if last is None:
        return None
    # all of them: archives that are unpacked into folders called as they are say it twice
    others = (f[1] if f and f[2].lower() == last else folder for f, folder in zip(split, folders, strict=True))
    return _with_part(name, tuple(others), KINDS[last])


def _read_frame(name: str) -> _Read | None:
    path = PurePosixPath(name)
    return _with_part(name, path.parts[:-1], "frames") if re.fullmatch(r"\D*\d+", path.stem) else None


def _with_part(name: str, folders: tuple[str, ...], kind: str) -> _Read:
    """Find the part among the folders but the kind's; what is above it is the top, below it the scene."""
    file = PurePosixPath(name).name
    for i in reversed(range(len(folders))):
        if part := PARTS.get(folders[i].lower()):
            top = tuple(folder for folder in folders[:i] if PARTS.get(folder.lower()) != part)  # train/train_blur
            return _Read(name, top, part, folders[i + 1 :], kind, file)
    return _Read(name, (), None, folders, kind, file)


def _one_set(read: list[_Read]) -> tuple[list[_Read], list[str]]:
    """Choose among sets of pairs that lie side by side; the names of the others."""
    with_part = [found for found in read if found.part]
    if not with_part:
        return read, []
    if without := [found.name for found in read if not found.part]:
        raise UserError(f"some images lie below train, val or test and others do not ({without[0]}): sort them first")
    tops = sorted({found.top for found in with_part})
    gopro = [top for top in tops if top and top[-1].lower() in ("gopro", "gopro_large")]
    if len(tops) > 1 and len(gopro) != 1:
        shown = ", ".join("/".join(top) or "." for top in tops)
        raise UserError(f"several data sets side by side ({shown}): name the folder of one in ingest_gopro.source")
    chosen = gopro[0] if len(tops) > 1 else tops[0]
    return [r for r in with_part if r.top == chosen], [r.name for r in with_part if r.top != chosen]


def _entry(found: _Read) -> Entry:
    """Name the scene: by its folders, unless the file's name begins with one of GoPro's, or there are no folders.

    Scenes of one name in different parts are different ones.
    """
    path = PurePosixPath(found.file)
    scene, frame, alone = fitting("-".join(found.scene), NAME_MAX), found.file, False
    flat = FLAT_NAME.fullmatch(path.stem)
    if found.kind != "frames" and flat and not GOPRO_SCENE.fullmatch(scene):
        scene, frame = flat[1], flat[2] + path.suffix
    elif not scene:
        scene = "video" if found.kind == "frames" else _clip(path.stem)
        alone = scene == path.stem
    kind = "blur" if found.kind.startswith("blur") else found.kind
    return Entry(found.name, found.part or UNSPLIT, scene, kind, frame, alone)


def place_in_row(scene: str) -> tuple[str, int, str]:
    """What orders scenes that are called as their frames: what stands before the last number, the number, the rest."""
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", scene)
    return (found[1], int(found[2]), found[3]) if found else (scene, 0, "")


def _clip(stem: str) -> str:
    """The clip that a file without folders is a frame of; its own name where that says nothing of a clip."""
    return stem if CAMERA.fullmatch(stem) else re.sub(r"[\s_.-]*(\d+|\(\d+\))$", "", stem) or stem
