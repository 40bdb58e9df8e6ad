"""Metadata of photos beyond EXIF: captions, authors and rights in XMP and IPTC, comments."""

import re
import struct
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

XMP = "XML:com.adobe.xmp"
"""The keyword of XMP among a PNG's texts."""
XMP_TAG = 700
"""Its tag in a TIFF."""
RESOURCES = {0x0404: "IPTC", 0x0425: "its digest", 0x040A: "copyrighted or not", 0x040B: "an address of the author's"}
"""Photoshop's blocks in a JPEG that describe the photo; others describe its pixels, such as a small preview."""
ORIENTED = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>)\s*)[2-8]""")
MISSING_PART = re.compile(rb"""xmpNote:HasExtendedXMP\s*=\s*["'][^"']*["']""")
"""The mark in XMP that it goes on in further segments of the JPEG, which are not kept."""


def described(image: Image.Image) -> dict[str, Any]:
    """Read the metadata of an opened image, for a photo that is upright.

    Returns
    -------
    dict
        What there is of `xmp` (bytes, its orientation set upright), `comment` (bytes) and `photoshop` (bytes of
        `RESOURCES` by their numbers) of a JPEG, and `text` (by keyword), `gamma` and `chromaticity` of a PNG.
    """
    found: dict[str, Any] = {}
    xmp = image.info.get("xmp") or image.getexif().get(XMP_TAG)
    if isinstance(xmp, bytes) and xmp:
        found["xmp"] = MISSING_PART.sub(b"", ORIENTED.sub(rb"\g<1>1", xmp))
    if image.format in ("JPEG", "MPO"):
        if image.info.get("comment"):
            found["comment"] = image.info["comment"]
        blocks = image.info.get("photoshop", {})
        if blocks := {number: blocks[number] for number in RESOURCES if number in blocks}:
            found["photoshop"] = blocks
    if image.format == "PNG":
        texts = {name: text for name, text in image.info.items() if isinstance(name, str) and isinstance(text, str)}
        # EXIF once more, with the old orientation
        if texts := {name: text for name, text in texts.items() if name != XMP and not name.startswith("Raw profile")}:
            found["text"] = texts
        if not image.info.get("icc_profile") and "srgb" not in image.info:  # which count more
            found |= {name: image.info[name] for name in ("gamma", "chromaticity") if name in image.info}
    return found


def segment(blocks: dict[int, bytes]) -> bytes:
    """Photoshop's blocks as a segment of a JPEG."""
    content = b"Photoshop 3.0\0"
    for number, data in blocks.items():
        content += b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) % 2)
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def png_chunks(kept: dict[str, Any]) -> PngImagePlugin.PngInfo:
    """The kept metadata as chunks of a PNG: what its values mean, and texts."""
    info = PngImagePlugin.PngInfo()
    for name, chunk in (("gamma", b"gAMA"), ("chromaticity", b"cHRM")):
        if name in kept:
            values = np.rint(np.ravel(kept[name]) * 1e5).astype(int)
            info.add(chunk, struct.pack(f">{len(values)}I", *values))
    for name, text in kept.get("text", {}).items():
        info.add_itxt(name, text)
    if "xmp" in kept:
        info.add_itxt(XMP, kept["xmp"].decode("utf-8", "replace"))
    return info
