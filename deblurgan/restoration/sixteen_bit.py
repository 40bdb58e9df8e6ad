"""Images of 16 bits a channel: Pillow, which reads all others, would cut colours to 8, and leave out some alphas."""

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from deblurgan.orientation import orientation_of, upright_pixels
from deblurgan.restoration.metadata import png_chunks

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it speaks of odd tags, whose photos are read all the same
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
"""Photometric interpretations of a TIFF: the meaning of its values."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""A PNG's kinds of colour, by the number of channels."""
LEFT, UP = 1, 2
"""A PNG's filters."""
PREMULTIPLIED, ALPHA = 1, 2
"""Kinds of a TIFF's extra channel."""
ROWS = 16
"""Rows of a PNG that are packed at once."""
LEVEL = 4
"""zlib's level."""


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
    return upright_pixels(pixels, orientation_of(image))


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


def sixteen_bit_png(pixels: np.ndarray, kept: dict[str, Any]) -> list[bytes]:
    """Make a PNG of 16 bits a channel: its content, in parts.

    Parameters
    ----------
    pixels
        `uint16` of shape (H, W, C), C from 1 (grey) to 4 (colours and alpha).
    kept
        `exif`, `icc_profile` and `dpi`, as Pillow has them, and see `metadata.described`.
    """
    height, width, channels = pixels.shape
    parts = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, COLOURS[channels], 0, 0, 0))]
    if "icc_profile" in kept:
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(kept["icc_profile"])))
    if "dpi" in kept:
        sides = (round(float(side) / 0.0254) for side in kept["dpi"])
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", *sides, 1)))
    if "exif" in kept:
        parts.append(_chunk(b"eXIf", kept["exif"].removeprefix(b"Exif\0\0")))
    parts += [_chunk(name, content) for name, content, _ in png_chunks(kept).chunks]
    parts += [_chunk(b"IDAT", data) for data in _packed(pixels) if data]
    return [*parts, _chunk(b"IEND", b"")]


def _packed(pixels: np.ndarray) -> Iterator[bytes]:
    """The rows of a PNG, each filtered by the difference that makes it smaller, from the left or from above."""
    packer, above = zlib.compressobj(LEVEL), np.zeros((1, 2 * pixels.shape[1] * pixels.shape[2]), np.uint8)
    step = 2 * pixels.shape[2]
    for top in range(0, len(pixels), ROWS):  # the whole at once would take the photo's memory several times
        some = np.ascontiguousarray(pixels[top : top + ROWS], ">u2").view(np.uint8)
        rows = some.reshape(len(some), -1)
        left, up = rows.copy(), rows - np.concatenate([above, rows[:-1]])
        left[:, step:] -= rows[:, :-step]
        sums = [np.abs(one.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64) for one in (left, up)]
        kind = np.where(sums[0] <= sums[1], LEFT, UP).astype(np.uint8)[:, None]
        yield packer.compress(np.concatenate([kind, np.where(kind == LEFT, left, up)], axis=1).tobytes())
        above = rows[-1:]
    yield packer.flush()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
