"""Motion blur of a photo by a kernel.

Convolution is by overlap-save: tiles whose Fourier transforms fit into the processor's cache take half the time of one
transform of the whole frame. It is done in float64, whose rounding is far below a grey level, so that processors agree.
"""

from collections.abc import Iterator

import numpy as np
from scipy import fft, special

from deblurgan.images import GAMMA, LINEAR_OF_BYTE, STORED_OF_BYTE

TILE = (128, 512)
"""Height and width of a transform, pixels; larger for kernels that would fill half of it."""

ROWS = 8
"""Rows of an image that are rounded at once."""

_NORMAL = special.ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
"""The standard normal distribution in 65,536 steps of equal probability: a random 16-bit number picks one."""

_LEVELS = (255 * np.linspace(0, 1, 2**16) ** (2 / GAMMA)).astype(np.float32)
"""Grey level of the square root of light in 65,536 steps: at most 0.004 levels off, eight times as fast as a power."""


def blur_image(image: np.ndarray, kernel: np.ndarray, *, linear: bool = True) -> np.ndarray:
    """Convolve a photo with a kernel, mirroring it at the borders.

    Parameters
    ----------
    image
        `uint8` of shape (H, W, 3).
    kernel
        Shape (K, K), K odd, sum 1.
    linear
        Whether it mixes light (gamma 2.2), as a camera does, or stored values, as most papers and GoPro's `blur` do.

    Returns
    -------
    numpy.ndarray
        `float32` of shape (H, W, 3): grey levels in [0, 255], not yet rounded.

    Examples
    --------
    A white line on black, blurred across by three pixels: stored values, then light.

    >>> photo = np.zeros((5, 7, 3), np.uint8)
    >>> photo[:, 3] = 255
    >>> kernel = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]) / 3
    >>> blur_image(photo, kernel, linear=False)[2, :, 0].round().astype(int).tolist()
    [0, 0, 85, 85, 85, 0, 0]
    >>> blur_image(photo, kernel, linear=True)[2, :, 0].round().astype(int).tolist()
    [0, 0, 155, 155, 155, 0, 0]
    """
    radius = len(kernel) // 2
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="symmetric")
    size = tuple(max(side, fft.next_fast_len(4 * len(kernel), real=True)) for side in TILE)
    transformed = fft.rfft2(kernel, size)
    values, levels = (LINEAR_OF_BYTE, _levels_of_light) if linear else (STORED_OF_BYTE, _levels_of_values)
    blurred = np.empty(image.shape, np.float32)
    for rows, columns in _tiles(image.shape[0], image.shape[1], size, len(kernel)):
        inside = (slice(rows.start, rows.stop + 2 * radius), slice(columns.start, columns.stop + 2 * radius))
        for channel in range(3):
            spectrum = fft.rfft2(values[padded[(*inside, channel)]], size)
            spectrum *= transformed
            mixed = fft.irfft2(spectrum, size, overwrite_x=True)
            valid = mixed[2 * radius :, 2 * radius :][: rows.stop - rows.start, : columns.stop - columns.start]
            blurred[rows, columns, channel] = levels(valid)
    return blurred


def _tiles(height: int, width: int, size: tuple[int, ...], kernel: int) -> Iterator[tuple[slice, slice]]:
    """Cut a frame into rectangles that a transform of this size leaves whole."""
    down, right = (side - kernel + 1 for side in size)
    for top in range(0, height, down):
        for left in range(0, width, right):
            yield slice(top, min(top + down, height)), slice(left, min(left + right, width))


def _levels_of_values(values: np.ndarray) -> np.ndarray:
    """Stored values in [0, 1] to grey levels in [0, 255]."""
    return 255 * np.clip(values, 0, 1)


def _levels_of_light(light: np.ndarray) -> np.ndarray:
    """Linear light to grey levels in [0, 255]."""
    root = np.sqrt(np.clip(light, 0, 1))
    return _LEVELS.take((root * 65535 + 0.5).astype(np.uint16))


def add_noise(levels: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Add sensor noise and round to 8 bits.

    Parameters
    ----------
    levels
        Grey levels in [0, 255], shape (H, W, 3).
    rng
        Source of randomness.
    deviation
        Standard deviation of the noise in grey levels.

    Returns
    -------
    numpy.ndarray
        `uint8` of that shape.
    """
    noisy = np.empty(levels.shape, np.uint8)
    for top in range(0, len(levels), ROWS):  # a few rows at a time stay in the processor's cache
        rows = levels[top : top + ROWS]
        if deviation:
            words = rng.integers(2**64, size=-(-rows.size // 4), dtype=np.uint64)
            noise = _NORMAL.take(words.view(np.uint16)[: rows.size]).reshape(rows.shape)
            noise *= np.float32(deviation)
            rows = rows + noise
        rounded = np.rint(rows)
        noisy[top : top + ROWS] = np.clip(rounded, 0, 255, out=rounded)
    return noisy
