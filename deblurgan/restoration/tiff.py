"""Writing TIFFs: Pillow writes 16 bits in one channel only, and compressed ones without the folders of their EXIF."""

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD
from PIL.TiffTags import ASCII, lookup

from deblurgan.restoration.metadata import XMP_TAG

FOLDERS = (IFD.Exif, IFD.GPSInfo)
"""Tags of EXIF that lead to more of it: of the exposure, and of the place."""
ROWS = 64
"""Rows that are compressed at once."""
DEFLATE, DIFFERENCES = 8, 2
"""How pixels are compressed: each as its difference from the one on its left."""
GREY, RGB = 1, 2
ALPHA = 2
"""By which colours are not multiplied."""
INCH = 2
BYTE, UNDEFINED = 1, 7


def tiff(pixels: np.ndarray, kept: dict[str, Any]) -> list[bytes]:
    """Make a TIFF, compressed without loss: its content, in parts.

    Parameters
    ----------
    pixels
        `uint8` or `uint16` of shape (H, W, C): grey or red, green and blue, with or without alpha.
    kept
        `exif`, `icc_profile` and `dpi`, as Pillow has them, and see `metadata.described`.
    """
    height, width, channels = pixels.shape
    strip = list(_packed(pixels))
    tags = _described(kept)
    if channels in (2, 4):
        tags[TiffImagePlugin.EXTRASAMPLES] = ALPHA
    tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH] = width, height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (8 * pixels.itemsize,) * channels
    tags[TiffImagePlugin.COMPRESSION], tags[TiffImagePlugin.PREDICTOR] = DEFLATE, DIFFERENCES
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = GREY if channels < 3 else RGB
    tags[TiffImagePlugin.SAMPLESPERPIXEL], tags[TiffImagePlugin.ROWSPERSTRIP] = channels, height
    tags[TiffImagePlugin.STRIPOFFSETS], tags[TiffImagePlugin.STRIPBYTECOUNTS] = 0, sum(map(len, strip))
    stream = io.BytesIO()
    tags.save(stream)  # it sets the offset to where this ends
    return [stream.getvalue(), *strip]


def _packed(pixels: np.ndarray) -> Iterator[bytes]:
    """The pixels, compressed: a few rows at once, since the whole would take the photo's memory several times."""
    packer = zlib.compressobj()
    for top in range(0, len(pixels), ROWS):
        rows = pixels[top : top + ROWS].astype(pixels.dtype.newbyteorder("<"))
        yield packer.compress(np.diff(rows, axis=1, prepend=pixels.dtype.type(0)).tobytes())
    yield packer.flush()


def exif_bytes(exif: Image.Exif) -> bytes:
    """Write EXIF, but for single entries that break its rules, and with letters beyond ASCII, which Pillow drops."""
    exif.bigtiff = False
    for tag, value in list(exif.items()):
        entries = exif.get_ifd(tag) if tag in FOLDERS else {tag: value}
        for name, entry in list(entries.items()):
            try:
                alone = TiffImagePlugin.ImageFileDirectory_v2()
                alone[name] = entries[name] = _letters(name, entry)
                alone.tobytes()
            except Exception:  # Pillow raises anything on odd values
                del entries[name]
        if tag not in FOLDERS:
            exif.pop(tag)
            for name, entry in entries.items():
                exif[name] = entry
    return exif.tobytes()


def _letters(tag: int, value: Any) -> Any:
    """Text as the bytes that it was read from."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and lookup(tag).type == ASCII else value


def _described(kept: dict[str, Any]) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags that say what the pixels show."""
    tags, exif = TiffImagePlugin.ImageFileDirectory_v2(), Image.Exif()
    exif.load(kept.get("exif", b""))
    for tag, value in exif.items():
        if tag in FOLDERS:
            value = {name: _letters(name, entry) for name, entry in exif.get_ifd(tag).items() if name != IFD.Interop}
        tags[tag] = _letters(tag, value)
    if "icc_profile" in kept:
        tags.tagtype[TiffImagePlugin.ICCPROFILE] = UNDEFINED
        tags[TiffImagePlugin.ICCPROFILE] = kept["icc_profile"]
    if "xmp" in kept:
        tags.tagtype[XMP_TAG] = BYTE
        tags[XMP_TAG] = kept["xmp"]
    if "dpi" in kept:
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = kept["dpi"]
        tags[TiffImagePlugin.RESOLUTION_UNIT] = INCH
    return tags
