"""Optional filters: denoise, equalize, posterize. All are off by default."""

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from deblurgan.params import Clean


def is_off(settings: Clean) -> bool:
    """Whether no filter is asked for."""
    return settings.denoise == "none" and not settings.equalize and settings.posterize is None


def filtered(image: Image.Image, settings: Clean, partner: Image.Image | None = None) -> Image.Image:
    """Denoise, equalize and posterize a photo, as far as asked for.

    Parameters
    ----------
    image
        Mode RGB.
    settings
        `denoise` by a 3x3 median or a Gaussian of sigma 1; `equalize` the histogram of each channel; `posterize`
        keeps that many bits of each channel.
    partner
        The blurred half of the pair that `image` is the sharp half of: its histogram decides, so that both halves
        go through the same curve, the one that a blurred photo alone can give.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, same size.
    """
    image = _denoised(image, settings)
    if settings.equalize:
        image = image.point(_equalizing(_denoised(partner or image, settings)))
    return image if settings.posterize is None else ImageOps.posterize(image, settings.posterize)


def _denoised(image: Image.Image, settings: Clean) -> Image.Image:
    if settings.denoise == "median":
        return image.filter(ImageFilter.MedianFilter(3))
    if settings.denoise == "gaussian":
        return image.filter(ImageFilter.GaussianBlur(1))
    return image


def _equalizing(image: Image.Image) -> list[int]:
    """The curve of each channel that spreads its values evenly over 0 to 255."""
    curves = []
    for counts in np.reshape(image.histogram(), (3, 256)):
        below = np.cumsum(counts) - counts
        curve = (below + counts // 2) * 255 // counts.sum()  # the middle of the value's own share
        curves += curve.tolist()
    return curves
