"""Pairs in the layout of the GoPro data set, `{train,test}/<scene>/{blur,blur_gamma,sharp}/<frame>.png`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deblurgan.errors import UserError

OFFICIAL = ("train", "test")


@dataclass(frozen=True)
class Frame:
    """One image of a scene, and where it belongs in `data/source/gopro`."""

    path: Path
    target: str


def find_frames(root: Path | str, blur: str) -> list[Frame]:
    """List the images of a GOPRO_Large folder.

    Parameters
    ----------
    root
        The folder that holds `train` and `test`, or its parent.
    blur
        Which blurred version to take: `blur` or `blur_gamma`; it becomes `blur`.

    Returns
    -------
    list of Frame
        In the order of their names. A frame without a partner is listed too: cleaning reports it.

    Raises
    ------
    UserError
        The folder is missing or holds no scene of that layout.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"ingest_gopro.source = {str(root)!r} is neither 'bundled' nor a folder")
    frames = sorted(_frames(root, blur) or _frames(root / "GOPRO_Large", blur), key=lambda f: f.target)
    if not frames:
        raise UserError(f"no image in {root}/{{train,test}}/<scene>/{{{blur},sharp}}: is it a GOPRO_Large folder?")
    if not any("/blur/" in frame.target for frame in frames):
        raise UserError(f"{root} has sharp frames but none in a folder {blur!r}: set ingest_gopro.blur to its name")
    return frames


def _frames(root: Path, blur: str) -> list[Frame]:
    return list(_walk(root, {blur: "blur", "sharp": "sharp"}))


def _walk(root: Path, kinds: dict[str, str]) -> Iterator[Frame]:
    for split in OFFICIAL:
        for folder, kind in kinds.items():
            for path in (root / split).glob(f"*/{folder}/*.png"):
                yield Frame(path, f"{split}/{path.parent.parent.name}/{kind}/{path.name}")
