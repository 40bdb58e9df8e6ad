"""First do no harm: a correction that is too small to be a deblurring is taken back.

A generator sharpens what is sharp already, and makes it worse. How much it would change tells sharp from blurred.
Two lengths in pixels are added up:

- Moved by a pixel, an image changes by its gradient: a correction over the gradient is a length. It shows strong blur,
  noisy or not.
- Blurred by a radius, an image changes by its Laplacian: a correction along the negative Laplacian is a radius. It
  shows mild blur, compressed or not.
"""

from collections.abc import Iterator

import numpy as np

NOTHING, ALL = 0.85, 0.9
"""Pixels up to which a correction is taken back, and from which it is kept; between them, a share of it. Chosen with
the pretrained generator and that of the default run, on the 200 training photos of BSDS500, as they are and with a blur
of 0.5 pixels: none is harmed by the former, three with a background out of focus by the latter."""
LEAST = 0.2 / 255
"""Of values in [-1, 1], a tenth of a grey level: the gradient that each place has at least. A flat image has none."""
ROWS, MARGIN = 256, 4
"""Rows that are worked on at a time, as a large photo's gradients would take as much memory as the photo; and how many
more to each side the Gaussian reaches to."""
PLACES = np.arange(-MARGIN, MARGIN + 1)
GAUSSIAN = np.exp(-(PLACES**2) / 2)
GAUSSIAN /= GAUSSIAN.sum()
"""Of a standard deviation of a pixel: noise is smoothed by it before a Laplacian is taken."""
CURVATURE = (PLACES**2 - 1) * GAUSSIAN
"""Its second derivative."""


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """How far a correction moves edges, in pixels.

    Parameters
    ----------
    before, after
        `float32` of one shape (H, W, 3), in [-1, 1].

    Returns
    -------
    float
        Root mean square of the brightness's correction over that of its gradient. What changes colours alone is 0.

    Examples
    --------
    >>> waves = np.zeros((64, 64, 3), np.float32)
    >>> waves += 0.5 * np.sin(np.arange(64) / 5)[:, None, None]
    >>> round(moved(waves[:-2], waves[2:]), 1)
    2.0
    """
    corrections = gradients = 0.0
    for grey, correction, inside in _strips(before, after):
        corrections += _sum_of_products(correction[inside], correction[inside])
        for axis in (0, 1):
            if grey.shape[axis] > 1:
                slopes = np.gradient(grey, axis=axis)[inside]
                gradients += _sum_of_products(slopes, slopes)
    return float(np.sqrt(corrections / (gradients + LEAST**2 * before[..., 0].size)))


def removed(before: np.ndarray, after: np.ndarray) -> float:
    """RMS radius of the blur that a correction takes away, in pixels.

    An even blur of RMS radius r changes an image by r²/4 times its Laplacian, but for higher orders. Of the blurred
    image's brightness, smoothed by a Gaussian, the share of its negative Laplacian in the correction is found by least
    squares.

    Parameters
    ----------
    before, after
        `float32` of one shape (H, W, 3), in [-1, 1].

    Returns
    -------
    float
        0 where the correction blurs. Strong blur is underestimated, as little is left of an image's fine parts.

    Examples
    --------
    >>> from scipy import ndimage
    >>> sharp = np.random.default_rng(0).uniform(-1, 1, (64, 64, 1)).repeat(3, axis=2)
    >>> sharp = ndimage.gaussian_filter(sharp, (2, 2, 0))
    >>> blurred = ndimage.gaussian_filter(sharp, (0.5, 0.5, 0))  # in two dimensions an RMS radius of 0.7
    >>> round(removed(blurred, sharp), 1)
    0.7
    """
    agreement = edges = 0.0
    for grey, correction, inside in _strips(before, after):
        laplacian = _filtered(grey, GAUSSIAN, CURVATURE)[inside] + _filtered(grey, CURVATURE, GAUSSIAN)[inside]
        agreement -= _sum_of_products(_filtered(correction, GAUSSIAN, GAUSSIAN)[inside], laplacian)
        edges += _sum_of_products(laplacian, laplacian)
    return 2 * float(np.sqrt(max(agreement, 0) / (edges + LEAST**2 * before[..., 0].size)))


def _strips(before: np.ndarray, after: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    """Of a strip of rows with a margin: its brightness, the correction of it, and which rows are no margin."""
    for top in range(0, len(before), ROWS):
        rows = slice(max(top - MARGIN, 0), top + ROWS + MARGIN)
        grey = before[rows].mean(axis=2)  # (rows, W)
        yield grey, after[rows].mean(axis=2) - grey, slice(top - rows.start, top - rows.start + ROWS)


def _filtered(image: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Convolve columns and rows with symmetric weights; beyond its borders the image goes on as at them."""
    height, width = image.shape
    padded = np.pad(image, MARGIN, mode="edge")
    columns = np.zeros_like(padded[:height])
    for i, weight in enumerate(down.astype(np.float32)):
        columns += weight * padded[i : i + height]
    filtered = np.zeros_like(image)
    for i, weight in enumerate(across.astype(np.float32)):
        filtered += weight * columns[:, i : i + width]
    return filtered


def _sum_of_products(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum(dtype=np.float64))


def restrain(before: np.ndarray, after: np.ndarray) -> float:
    """Take back what a result changes too little.

    Parameters
    ----------
    before, after
        `float32` of one shape (H, W, 3), in [-1, 1]; the second is changed in place.

    Returns
    -------
    float
        The share of the correction that is kept, 0 to 1.
    """
    pixels = moved(before, after)
    if pixels < ALL:
        pixels += removed(before, after)
    share = float(np.clip((pixels - NOTHING) / (ALL - NOTHING), 0, 1))
    keep(share, before, after)
    return share


def keep(share: float, before: np.ndarray, after: np.ndarray) -> None:
    """Keep a share of a correction, 0 to 1, in place and without a copy; all of it is left as it is to the last bit."""
    if share != 1:
        after -= before
        after *= share
        after += before
