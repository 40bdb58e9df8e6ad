"""HEIC and AVIF, photos as pictures of a film's codec, which phones write; and colours that are named by numbers."""

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
        A HEIC's format is HEIF. Where a HEIC, AVIF or PNG names its colours by numbers, its profile is made from them.

    Raises
    ------
    UserError
        What reads HEIC is not installed.
    Exception
        Of any kind: it is no such image.
    """
    brands = data[8 : int.from_bytes(data[:4])] if data[4:8] == b"ftyp" else b""
    if not brands or b"avif" in brands:
        image = Image.open(io.BytesIO(data), formats=formats)
    else:
        try:
            from pillow_heif import HeifImageFile  # 26 MB that few need
        except ImportError as error:
            raise UserError(f"HEIC needs pillow-heif ({error}): pip install -r requirements.txt") from None
        image = HeifImageFile(io.BytesIO(data))
    primaries, _ = _numbers(image, data)
    if primaries in PRIMARIES and (image.format == "PNG" or not image.info.get("icc_profile")):  # a PNG's numbers win
        image.info["icc_profile"] = icc.profile(*PRIMARIES[primaries])
    return image


def opened_file(path: Path) -> Image.Image:
    """Open an image file as `opened` does; of Pillow's formats no more than the head is read."""
    with open(path, "rb") as stream:
        is_film = stream.read(8)[4:] == b"ftyp"
    return opened(path.read_bytes()) if is_film else Image.open(path)


def hdr(image: Image.Image, data: bytes) -> str | None:
    """Which kind of HDR an opened image is; None if it is a usual one."""
    return HDR.get(_numbers(image, data)[1])


def may_be_transparent(path: Path) -> bool:
    """Whether the head of a HEIC or AVIF speaks of transparency; False if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return ALPHA.search(stream.read(HEAD)) is not None
    except OSError:
        return False


def _numbers(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Primaries and transfer characteristics of an opened image; 2 is unknown."""
    if image.format == "HEIF":  # by its own: a gain map beside it has others
        named = image.info.get("nclx_profile") or {}
        return named.get("color_primaries", 2), named.get("transfer_characteristics", 2)
    if image.format == "PNG":
        content = _chunk_before_pixels(data, b"cICP")
        return (content[0], content[1]) if len(content) == 4 else (2, 2)
    found = COLOURS.search(data, 0, HEAD) if image.format == "AVIF" else None
    return (int.from_bytes(found[1]), int.from_bytes(found[2])) if found else (2, 2)


def _chunk_before_pixels(data: bytes, wanted: bytes) -> bytes:
    """The content of a chunk of a PNG; nothing where there is none before the pixels."""
    at = 8  # after the signature
    while (name := data[at + 4 : at + 8]) not in (b"IDAT", b""):
        length = int.from_bytes(data[at : at + 4])
        if name == wanted:
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return b""
