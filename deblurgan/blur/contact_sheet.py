"""Blur kernels to look at."""

from collections.abc import Sequence

import numpy as np

from deblurgan.images import quantize


def kernel_sheet(kernels: Sequence[np.ndarray], columns: int = 8, zoom: int = 3, gap: int = 6) -> np.ndarray:
    """Draw blur kernels side by side, in rows, all at one scale, each as bright as its brightest pixel allows.

    Parameters
    ----------
    kernels
        Square, of odd sizes, non-negative.
    columns
        Kernels in a row.
    zoom
        Side of a kernel's pixel in the picture, pixels.
    gap
        Between kernels, pixels.

    Returns
    -------
    numpy.ndarray
        `uint8` of shape (H, W, 3); a single black cell when there are no kernels.
    """
    side = max((len(kernel) for kernel in kernels), default=1) * zoom
    rows = max(1, -(-len(kernels) // columns))
    sheet = np.full((rows * (side + gap) + gap, columns * (side + gap) + gap, 3), 64, np.uint8)
    for i in range(rows * columns):
        top, left = (gap + place * (side + gap) for place in divmod(i, columns))
        cell = sheet[top : top + side, left : left + side]
        cell[:] = 0
        if i < len(kernels):
            drawn = np.kron(np.sqrt(kernels[i] / kernels[i].max()), np.ones((zoom, zoom)))
            edge = (side - len(drawn)) // 2
            cell[edge : edge + len(drawn), edge : edge + len(drawn)] = quantize(drawn)[..., None]
    return sheet
