"""Images in memory and on disk.

On disk an image is an 8-bit RGB PNG. In memory it is `uint8` of shape (H, W, 3), or `float32` of shape
(H, W, 3) or (N, H, W, 3) in [-1, 1], the range that the networks take.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None  # cleaning refuses what is too large, by `clean.max_pixels`

GAMMA = 2.2
"""Exponent between stored values and light, as the GoPro data set's authors model the camera response."""

PNG_LEVEL = 2
"""zlib's level: on photos four to seven times as fast as Pillow's default of 6, for up to a seventh more bytes."""


def read_rgb(file: Path | str | BinaryIO) -> np.ndarray:
    """Read an image file as `uint8` of shape (H, W, 3).

    Raises
    ------
    OSError
        The file cannot be read or is damaged; the error names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_png(f"{folder}/red.png", np.full((2, 3, 3), (255, 0, 0), np.uint8))
    ...     read_rgb(f"{folder}/red.png")[0, 0].tolist()
    [255, 0, 0]
    """
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        if isinstance(file, Path | str) and not error.filename and str(file) not in str(error):
            raise type(error)(None, str(error), str(file)) from None  # Pillow does not say which file is damaged
        raise


def write_png(path: Path | str, image: np.ndarray) -> None:
    """Write `uint8` of shape (H, W, 3) as a 24-bit PNG, creating the directory."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, format="PNG", compress_level=PNG_LEVEL)


def to_float(image: np.ndarray) -> np.ndarray:
    """`uint8` in [0, 255] to `float32` in [-1, 1]."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] to `uint8`, rounded to nearest and clipped."""
    return quantize((np.asarray(image, dtype=np.float32) + 1) / 2)


def quantize(image: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to `uint8`, rounded to nearest and clipped."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def to_linear(image: np.ndarray) -> np.ndarray:
    """Stored values in [0, 1] to linear light in [0, 1]."""
    return np.clip(image, 0, 1) ** GAMMA


STORED_OF_BYTE = np.arange(256) / 255
"""Each 8-bit value in [0, 1]."""
LINEAR_OF_BYTE = to_linear(STORED_OF_BYTE)
"""Linear light of each stored 8-bit value: `LINEAR_OF_BYTE[image]` is `to_linear(image / 255)`, faster."""


def from_linear(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to stored values in [0, 1]."""
    return np.clip(light, 0, 1) ** (1 / GAMMA)
