"""How sharp a photo is without a reference, and what contradicts its label."""

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.measure import blur_effect

WIDTH = 640
"""Pixels of the long side at which blur is measured: blur of a pixel or two is no fault, and noise averages out."""
BLURRED_ABOVE = 0.45
SHARP_BELOW = 0.30
"""Limits of `blurriness`. Frames of GoPro: sharp 0.31 to 0.37, blurred 0.36 to 0.66; photos of BSDS500: 0.22 to 0.40,
with motion blur of 30 pixels or more 0.45 to 0.77 (5 to 95 %)."""

SHOWN = 2000
"""Pixels of the long side, about, at which a photo to deblur is looked at: as on a large screen."""
GRAIN = 1.0
"""Standard deviation in pixels of a Gaussian that takes noise away, which would be taken for sharp."""
NOT_BLURRED_BELOW = 0.47
"""A photo to deblur with a smaller blur effect looks sharp. Of blurred images, no frame of GoPro or REDS is below; of
BSDS500 with 15 to 60 pixels of camera shake 1 in 100 is, with 3 to 6 pixels 4 in 10. Of sharp images, all frames of
REDS are below, 9 in 10 photos of KODAK, 8 in 10 of BSDS500, 2 in 3 of GoPro's soft frames. Measured by
`python -m benchmarks.sharpness`."""
SMALLEST = 16
"""Pixels of the short side below which nothing can be said."""


def preview(image: Image.Image) -> Image.Image:
    """Reduce a photo to mode L and about `WIDTH` pixels, by averaging whole blocks of pixels."""
    return image.convert("L").reduce(max(1, round(max(image.size) / WIDTH)))


def blurriness(small: Image.Image) -> float:
    """The blur of a photo's middle, without a reference.

    Parameters
    ----------
    small
        Its preview.

    Returns
    -------
    float
        In [0, 1], rounded to 3 digits; 0 is no blur. Crete et al., "The blur effect: perception and estimation with
        a new no-reference perceptual blur metric", 2007.
    """
    width, height = small.size
    middle = small.crop((width // 4, height // 4, width - width // 4, height - height // 4))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(blur_effect(np.asarray(middle)))
    return round(value, 3) if np.isfinite(value) else 1.0  # a photo of one colour has nothing sharp


def doubt(kind: str, value: float, partner: float | None) -> str:
    """Say what contradicts the label of a photo.

    Parameters
    ----------
    kind
        `sharp`, `blurred`, `blur` or `frames`.
    value
        Its blurriness.
    partner
        Blurriness of the other half of its pair, if it has one.

    Returns
    -------
    str
        A few words; empty when nothing does.
    """
    if partner is not None:
        return "no blurrier than its sharp partner" if kind == "blur" and value <= partner else ""
    if kind == "blurred":
        return "looks sharp" if value < SHARP_BELOW else ""
    return "looks blurred" if value > BLURRED_ABOVE else ""


def looks_sharp(colours: np.ndarray) -> bool:
    """Whether a photo, as a whole, does not look blurred, so that deblurring it could only harm it.

    Parameters
    ----------
    colours
        `float32` of shape (H, W, 3) in [-1, 1].

    Returns
    -------
    bool
        False also where nothing can be said: of photos of one colour, and of very small ones.
    """
    grey = Image.fromarray(colours.mean(axis=2, dtype=np.float32))
    small = np.asarray(grey.reduce(max(1, round(max(grey.size) / SHOWN))))
    if min(small.shape) < SMALLEST:
        return False
    with np.errstate(invalid="ignore", divide="ignore"):
        return bool(blur_effect(ndimage.gaussian_filter(small, GRAIN)) < NOT_BLURRED_BELOW)  # NaN is not below
