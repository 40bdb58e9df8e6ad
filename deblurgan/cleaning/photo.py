"""One photo, cleaned: of a folder by the pipeline, of a bucket by the live edge."""

from PIL import Image

from deblurgan.cleaning import filters
from deblurgan.cleaning.conversion import load_photo
from deblurgan.params import Clean

TOO_LARGE = "too large"
BYTES_OF_PIXEL, BYTES_OF_NOTES = 8, 1 << 26
"""Four channels of 16 bits, uncompressed, and what may stand beside the pixels: a larger file is not even read."""


def largest_file(settings: Clean) -> int:
    """Bytes from which on a file is refused without being read: as `TOO_LARGE`."""
    return settings.max_pixels * BYTES_OF_PIXEL + BYTES_OF_NOTES


def cleaned(data: bytes, settings: Clean, partner: Image.Image | None = None) -> tuple[Image.Image, bool]:
    """Clean a photo: decoded, upright, sRGB, filtered as asked for.

    Parameters
    ----------
    data
        The content of its file.
    settings
        What is refused, what is filtered.
    partner
        The blurred half, where the photo is the sharp half of a pair; see `filters.filtered`.

    Returns
    -------
    image : PIL.Image.Image
        Mode RGB.
    untouched : bool
        Whether the file holds exactly this image already, as a PNG that can be kept byte for byte.

    Raises
    ------
    Rejected
        See `conversion.load_photo`.
    """
    image, untouched = load_photo(data, min_side=settings.min_side, max_pixels=settings.max_pixels)
    if filters.is_off(settings):
        return image, untouched
    return filters.filtered(image, settings, partner), False
