"""Images of 16 bits a channel: Pillow, which reads all others, would cut colours to 8, and leave out some alphas."""

import io
import logging
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from deblurgan.restoration.metadata import texts

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it speaks of odd tags, whose photos are read all the same
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
"""Photometric interpretations of a TIFF: the meaning of its values."""
PREMULTIPLIED, ALPHA = 1, 2
"""Kinds of a TIFF's extra channel."""
ORIENTATION = 0x0112
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""How to turn pixels upright, by EXIF's orientation."""


def read_sixteen_bit(image: Image.Image, data: bytes) -> np.ndarray | None:
    """Read the pixels of a PNG, or of a grey or RGB TIFF, upright, if they are of 16 bits.

    Parameters
    ----------
    image, data
        The opened image, not loaded yet (which makes a TIFF upright), and its file.

    Returns
    -------
    numpy.ndarray or None
        `uint16` of shape (H, W, C): grey or red, green and blue, with or without alpha, by which they are not
        multiplied. None: it is no such image.
    """
    if image.format == "PNG" and data[24] == 16:
        pixels = imagecodecs.png_decode(data)
        image.load()  # texts may come after the pixels
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and _is_sixteen_bit(image.tag_v2):
        pixels = _tiff_pixels(data, image.tag_v2)
    else:
        return None
    return UPRIGHT.get(image.getexif().get(ORIENTATION, 1), np.asarray)(pixels)


def _is_sixteen_bit(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    known = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    unsigned = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) == {1}
    return known and unsigned and set(tags.get(TiffImagePlugin.BITSPERSAMPLE, ())) == {16}


def _tiff_pixels(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> np.ndarray:
    pixels = tifffile.imread(io.BytesIO(data), key=0).astype(np.uint16, copy=False)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    meaning = tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION]
    colours, extra = 3 if meaning == RGB else 1, tags.get(TiffImagePlugin.EXTRASAMPLES, (0,))[0]
    if meaning == WHITE_IS_ZERO:
        pixels = np.concatenate([65535 - pixels[..., :1], pixels[..., 1:]], axis=-1)
    if pixels.shape[2] == colours or extra not in (PREMULTIPLIED, ALPHA):
        return pixels[..., :colours]
    if extra == ALPHA:
        return pixels[..., : colours + 1]
    alpha = pixels[..., colours : colours + 1]
    divided = pixels[..., :colours] * (65535 / np.maximum(alpha, 1).astype(np.float32))
    return np.concatenate([np.rint(np.minimum(divided, 65535)).astype(np.uint16), alpha], axis=-1)


def sixteen_bit_png(pixels: np.ndarray, kept: dict[str, Any]) -> bytes:
    """Make a PNG of 16 bits a channel.

    Parameters
    ----------
    pixels
        `uint16` of shape (H, W, C), C from 2 (grey and alpha) to 4.
    kept
        `exif`, `icc_profile` and `dpi`, as Pillow has them, and see `metadata.described`.
    """
    data, chunks = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=4), b""
    if "icc_profile" in kept:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(kept["icc_profile"]))
    if "dpi" in kept:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(float(side) / 0.0254) for side in kept["dpi"]), 1))
    if "exif" in kept:
        chunks += _chunk(b"eXIf", kept["exif"].removeprefix(b"Exif\0\0"))
    chunks += b"".join(_chunk(name, content) for name, content, _ in texts(kept).chunks)
    header = 33  # signature and IHDR, after which they belong
    return b"".join([data[:header], chunks, data[header:]])


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
