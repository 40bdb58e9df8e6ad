"""HEIC and AVIF, photos as pictures of a film's codec: phones write them."""

import io
import re
from pathlib import Path

from PIL import Image

from deblurgan import icc
from deblurgan.errors import UserError

SUFFIXES = (".heic", ".heif", ".hif", ".avif")
SEVERAL = ("MPO", "HEIF")
"""Formats of phones whose further pictures are previews and the like, not pages."""
HEAD = 65536
"""Bytes at a file's beginning that say what is in it."""
COLOURS = re.compile(rb"colrnclx(..)(..)", re.DOTALL)
"""Colours that are named by the numbers of ISO/IEC 23091-2: primaries, transfer characteristics."""
ALPHA = re.compile(rb"auxiliary:alpha\0|hevc:2015:auxid:1\0")
HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics whose values say more light than a screen's white."""
PRIMARIES = {
    9: ("BT.2020, sRGB's curve", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
}
"""Name, and x and y of red, green and blue, where they are not sRGB's; white is D65."""


def opened(data: bytes, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Open an image of Pillow's formats, or a HEIC; nothing is decoded yet.

    Parameters
    ----------
    data
        The file's content.
    formats
        Pillow's names of the formats that may be read; None for all.

    Returns
    -------
    PIL.Image.Image
        A HEIC's format is HEIF. Where a HEIC or AVIF names its colours by numbers, its profile is made from them.

    Raises
    ------
    UserError
        What reads HEIC is not installed.
    Exception
        Of any kind: it is no such image.
    """
    brands = data[8 : int.from_bytes(data[:4])] if data[4:8] == b"ftyp" else b""
    if not brands:
        return Image.open(io.BytesIO(data), formats=formats)
    if b"avif" in brands:
        image = Image.open(io.BytesIO(data), formats=formats)
    else:
        try:
            from pillow_heif import HeifImageFile  # 26 MB that few need
        except ImportError as error:
            raise UserError(f"HEIC needs pillow-heif ({error}): pip install -r requirements.txt") from None
        image = HeifImageFile(io.BytesIO(data))
    primaries, _ = _numbers(data)
    if primaries in PRIMARIES and not image.info.get("icc_profile"):
        image.info["icc_profile"] = icc.profile(*PRIMARIES[primaries])
    return image


def opened_file(path: Path) -> Image.Image:
    """Open an image file as `opened` does; of Pillow's formats no more than the head is read."""
    with open(path, "rb") as stream:
        is_film = stream.read(8)[4:] == b"ftyp"
    return opened(path.read_bytes()) if is_film else Image.open(path)


def hdr(image: Image.Image, data: bytes) -> str | None:
    """Which kind of HDR an opened image is; None if it is a usual one."""
    return HDR.get(_numbers(data)[1]) if image.format in ("HEIF", "AVIF") else None


def may_be_transparent(path: Path) -> bool:
    """Whether the head of a HEIC or AVIF speaks of transparency; False if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return ALPHA.search(stream.read(HEAD)) is not None
    except OSError:
        return False


def _numbers(data: bytes) -> tuple[int, int]:
    """Primaries and transfer characteristics; 2 is unknown."""
    found = COLOURS.search(data, 0, HEAD)
    return (int.from_bytes(found[1]), int.from_bytes(found[2])) if found else (2, 2)
