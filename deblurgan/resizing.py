"""Resizing; both halves of a pair have one size, so they always get the same geometry."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from deblurgan.params import Resize

FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
REDUCING_GAP = 2.5
"""Images that shrink more than this are first averaged over whole blocks of pixels: half the time, and on photos a PSNR
above 47 dB against the filter alone, an error of one grey level."""
SMALLEST = 16
"""Pixels; SSIM needs 11, the generator mirrors up to 16."""
TOO_THIN = f"its shorter side becomes less than {SMALLEST} pixels"
"""Why an image is left out."""


def resized(image: Image.Image, settings: Resize) -> Iterator[tuple[str, Image.Image]]:
    """Bring an image to its size.

    Parameters
    ----------
    image
        Mode RGB.
    settings
        `none` keeps it; `fit` scales it down, keeping its aspect ratio, until it lies within the given size; `pad`
        does that and mirrors it at its right and lower borders up to exactly that size; `crop` scales it until it
        covers the given size and keeps the middle; `stretch` gives it exactly the given size, whatever its aspect
        ratio; `tile` cuts it, unscaled, into pieces of the given size, the last ones flush with the border.

    Yields
    ------
    suffix, image
        What to add to the name, empty but for tiles; and the image, the very same one if nothing changes.
    """
    width, height = settings.width, settings.height
    if settings.mode == "none":
        yield "", image
    elif settings.mode == "stretch":
        yield "", _scaled(image, (width, height), settings)
    elif settings.mode == "crop":
        scale = max(width / image.width, height / image.height)
        across, down = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        covering = _scaled(image, (across, down), settings)
        yield "", _cropped(covering, (across - width) // 2, (down - height) // 2, width, height)
    elif settings.mode == "tile":
        for top in _starts(image.height, height):
            for left in _starts(image.width, width):
                yield f"_y{top:05d}x{left:05d}", _cropped(image, left, top, width, height)
    else:
        scale = min(width / image.width, height / image.height, 1)
        inside = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = _scaled(image, inside, settings)
        yield "", _padded(small, width, height) if settings.mode == "pad" else small


def whole(settings: Resize) -> Resize:
    """How a photo without a partner is resized: as pairs are, but never cut into tiles."""
    return settings.model_copy(update={"mode": "none"}) if settings.mode == "tile" else settings


def _scaled(image: Image.Image, size: tuple[int, int], settings: Resize) -> Image.Image:
    if size == image.size:
        return image
    return image.resize(size, FILTERS[settings.filter], reducing_gap=REDUCING_GAP)


def _cropped(image: Image.Image, left: int, top: int, width: int, height: int) -> Image.Image:
    right, bottom = min(left + width, image.width), min(top + height, image.height)
    whole = (left, top, right, bottom) == (0, 0, *image.size)
    return image if whole else image.crop((left, top, right, bottom))


def _padded(image: Image.Image, width: int, height: int) -> Image.Image:
    if (width, height) == image.size:
        return image
    missing = ((0, height - image.height), (0, width - image.width), (0, 0))
    return Image.fromarray(np.pad(np.asarray(image), missing, mode="symmetric"))


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side."""
    starts = list(range(0, max(1, length - tile + 1), tile))
    return starts if starts[-1] + tile >= length else [*starts, length - tile]
