"""Turning any image file into an upright 8-bit sRGB image, or saying why not."""

import warnings

import numpy as np
from PIL import Image

from deblurgan import heif
from deblurgan.colour import to_srgb
from deblurgan.errors import UserError
from deblurgan.orientation import upright

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF")
"""Formats that Pillow reads. HEIC is read by `heif`."""


class Rejected(Exception):
    """Why a file is refused; one of a fixed set of reasons, so that reports are reproducible."""


def is_clean(data: bytes, image: Image.Image) -> bool:
    """Whether a file is already an upright 8-bit RGB PNG without a colour profile."""
    return (
        image.format == "PNG"
        and data[24:26] == b"\x08\x02"  # IHDR: 8 bits a channel, colour type RGB; Pillow hides 16 bits
        and "icc_profile" not in image.info
        and "transparency" not in image.info
        and image.getexif().get(0x0112, 1) == 1
    )


def load_photo(data: bytes, *, min_side: int, max_pixels: int) -> tuple[Image.Image, bool]:
    """Decode an image file whatever its format, mode, orientation and colour profile.

    Parameters
    ----------
    data
        The file's content.
    min_side
        Smallest width and height that is accepted, in pixels.
    max_pixels
        Largest width times height; it is checked before anything is decoded.

    Returns
    -------
    image : PIL.Image.Image
        Upright, mode RGB, sRGB. Alpha is laid on white; 16-bit grey is scaled to 8 bit.
    untouched : bool
        Whether the file holds exactly this image already, as a PNG that can be kept byte for byte.

    Raises
    ------
    Rejected
        not an image, truncated, animated, too small, too large, float data, or HDR.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("L", (64, 48)).save(file, "PNG")
    >>> image, untouched = load_photo(file.getvalue(), min_side=32, max_pixels=10**6)
    >>> image.mode, image.size, untouched
    ('RGB', (64, 48), False)
    >>> load_photo(b"a note", min_side=32, max_pixels=10**6)
    Traceback (most recent call last):
        ...
    deblurgan.cleaning.conversion.Rejected: not an image
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's about odd metadata, and about size: max_pixels decides
        image = _opened(data)
        if image.width * image.height > max_pixels:
            raise Rejected("too large")
        if min(image.size) < min_side:
            raise Rejected("too small")
        if image.mode == "F":
            raise Rejected("float data")
        if heif.hdr(image, data):
            raise Rejected("HDR")
        try:
            animated = getattr(image, "n_frames", 1) > 1 and image.format not in heif.SEVERAL
            if not animated:
                image.load()
                untouched = is_clean(data, image)
                return (image if untouched else _upright_srgb(image)), untouched
        except Exception as error:
            if isinstance(error, MemoryError) and not _fits(image.size):  # otherwise the file asks for too much
                raise
            raise Rejected("truncated") from None
        raise Rejected("animated")


def _fits(size: tuple[int, int]) -> bool:
    """Whether this machine has the memory that an image of a size takes."""
    try:
        return bool(np.empty((size[1], size[0], 16), np.uint8).size)
    except MemoryError:
        return False


def _opened(data: bytes) -> Image.Image:
    """Read the header; decoders raise anything on garbage, and name memory addresses."""
    try:
        return heif.opened(data, FORMATS)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise Rejected("too large") from None
    except Exception:
        raise Rejected("not an image") from None


def _upright_srgb(image: Image.Image) -> Image.Image:
    """Apply orientation, bit depth, alpha and colour profile."""
    profile = image.info.get("icc_profile")
    image = upright(image)
    if image.mode.startswith("I"):  # 16 bit in Pillow's 16- and 32-bit integer modes
        grey = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.rint(np.clip(grey / 257, 0, 255)).astype(np.uint8))
        profile = None
    if image.mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "P":
        image = image.convert("RGB")
    return to_srgb(image, profile)
