"""Photos turned upright, as the orientation in their EXIF says."""

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
"""The tag of EXIF."""
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""How to turn an array of shape (H, W, ...), by orientation; 1 and values that do not exist turn nothing."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The same for an image."""


def orientation_of(image: Image.Image) -> int:
    """The orientation of an opened image, 1 to 8; 1 where it says none."""
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in UPRIGHT else 1


def upright_pixels(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels of shape (H, W, ...) upright."""
    return UPRIGHT.get(orientation, np.asarray)(pixels)


def upright(image: Image.Image) -> Image.Image:
    """Turn an image upright.

    Pillow's `exif_transpose` also writes the EXIF anew, and fails where an entry breaks the rules of EXIF.

    Examples
    --------
    >>> image = Image.new("L", (4, 3))
    >>> image.getexif()[ORIENTATION] = 6
    >>> upright(image).size
    (3, 4)
    """
    turn = TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)
