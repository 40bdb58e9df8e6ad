"""Images of 16 bits in several channels: Pillow, which reads all others, would cut them to 8."""

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

RGB_TIFF = 2
"""How a TIFF says that its channels are red, green and blue."""
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
"""What EXIF's orientations ask for."""


def read_deep(image: Image.Image, data: bytes) -> np.ndarray | None:
    """Read the pixels of a PNG or an RGB TIFF, upright, if they are of 16 bits and more than one channel.

    Parameters
    ----------
    image, data
        The opened image, not loaded yet (which makes a TIFF upright), and its file.

    Returns
    -------
    numpy.ndarray or None
        `uint16` of shape (H, W, C), C from 2 (grey and alpha) to 4. None: it is no such image.
    """
    if image.format == "PNG" and data[24] == 16 and data[25] in (2, 4, 6):
        pixels = imagecodecs.png_decode(data)
    elif image.format == "TIFF" and _is_deep(image.tag_v2):
        pixels = tifffile.imread(io.BytesIO(data), key=0)
        if image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2:
            pixels = np.moveaxis(pixels, 0, -1)
    else:
        return None
    return UPRIGHT.get(image.getexif().get(ORIENTATION), np.asarray)(pixels.astype(np.uint16))


def _is_deep(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    rgb = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == RGB_TIFF
    unsigned = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) == {1}
    return rgb and unsigned and tags.get(TiffImagePlugin.BITSPERSAMPLE) in ((16,) * 3, (16,) * 4)


def deep_png(pixels: np.ndarray, kept: dict[str, Any]) -> bytes:
    """Make a PNG of 16 bits a channel.

    Parameters
    ----------
    pixels
        `uint16` of shape (H, W, C), C from 2 (grey and alpha) to 4.
    kept
        `exif`, `icc_profile` and `dpi`, as Pillow has them.
    """
    data, chunks = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=4), b""
    if "icc_profile" in kept:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(kept["icc_profile"]))
    if "dpi" in kept:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(float(side) / 0.0254) for side in kept["dpi"]), 1))
    if "exif" in kept:
        chunks += _chunk(b"eXIf", kept["exif"].removeprefix(b"Exif\0\0"))
    header = 33  # signature and IHDR, after which they belong
    return data[:header] + chunks + data[header:]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
