"""First do no harm: a correction that is too small to be a deblurring is taken back.

A generator sharpens what is sharp already, and makes it worse. How much it would change tells sharp from blurred: moved
by a pixel, an image changes by its gradient, so a correction over the gradient is a length in pixels. Of the
pretrained generator it is a tenth of a pixel for sharp photos, and a pixel for blur that one sees.
"""

import numpy as np

NOTHING, ALL = 0.2, 0.25
"""Pixels up to which a correction is taken back, and from which it is kept; between them, a share of it. Chosen with
the pretrained generator and that of the default run, on 25 training photos of BSDS500: of the sharp photos and of those
with a blur of 0.5 pixels none is harmed."""
LEAST = 0.2 / 255
"""Of values in [-1, 1], a tenth of a grey level: the gradient that each place has at least. A flat image has none."""
ROWS = 256
"""Rows that are worked on at a time: a large photo's gradients would take as much memory as the photo."""


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
    for top in range(0, len(before), ROWS):
        rows = slice(max(top - 1, 0), top + ROWS + 1)  # a row more to each side, for the gradient
        grey = before[rows].mean(axis=2)  # (rows, W)
        inside = slice(top - rows.start, top - rows.start + ROWS)
        correction = after[rows].mean(axis=2)[inside] - grey[inside]
        corrections += float(np.square(correction).sum(dtype=np.float64))
        for axis in (0, 1):
            if grey.shape[axis] > 1:
                gradients += float(np.square(np.gradient(grey, axis=axis)[inside]).sum(dtype=np.float64))
    return float(np.sqrt(corrections / (gradients + LEAST**2 * before[..., 0].size)))


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
    share = float(np.clip((moved(before, after) - NOTHING) / (ALL - NOTHING), 0, 1))
    keep(share, before, after)
    return share


def keep(share: float, before: np.ndarray, after: np.ndarray) -> None:
    """Keep a share of a correction, 0 to 1, in place and without a copy; all of it is left as it is to the last bit."""
    if share != 1:
        after -= before
        after *= share
        after += before
