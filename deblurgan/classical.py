"""What was done before networks: unsharp masking, Wiener's filter, Richardson and Lucy's iteration."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage import restoration

GUESS = 1.5
"""Standard deviation, in pixels, of the round Gaussian that stands for a blur that is not known."""


def guessed_kernel(deviation: float = GUESS) -> np.ndarray:
    """A round Gaussian, `float64` of shape (K, K), K odd, sum 1."""
    radius = int(np.ceil(4 * deviation))
    offsets = np.arange(-radius, radius + 1)
    line = np.exp(-(offsets**2) / (2 * deviation**2))
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def unsharp(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Add the difference from a blurred copy, once; `kernel` gives nothing but its width.

    Parameters
    ----------
    image
        `float32` of shape (H, W, 3) in [-1, 1].
    kernel
        Shape (K, K), sum 1.

    Returns
    -------
    numpy.ndarray
        Of the same shape and range.
    """
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    deviation = max(0.5, float(np.sqrt((kernel.sum(axis=0) * offsets**2).sum())))
    return np.clip(2 * image - ndimage.gaussian_filter(image, (deviation, deviation, 0)), -1, 1)


def wiener(image: np.ndarray, kernel: np.ndarray, balance: float = 0.02) -> np.ndarray:
    """Divide by the kernel's spectrum where it is strong; parameters as of `unsharp`, `balance` against noise."""
    return _each_channel(image, kernel, lambda x: restoration.wiener(x, kernel, balance, clip=False))


def richardson_lucy(image: np.ndarray, kernel: np.ndarray, iterations: int = 10) -> np.ndarray:
    """Iterate towards the image that is likeliest with Poisson noise; parameters as of `unsharp`."""
    return _each_channel(
        image, kernel, lambda x: restoration.richardson_lucy(x, kernel, iterations, filter_epsilon=1e-6)
    )


def _each_channel(image: np.ndarray, kernel: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Work on each channel in [0, 1], mirrored at the borders by the kernel's size: Fourier's would wrap around."""
    width = len(kernel)
    restored = np.empty_like(image, dtype=np.float32)
    for channel in range(3):
        unit = np.pad((image[..., channel].astype(np.float64) + 1) / 2, width, mode="symmetric")
        restored[..., channel] = 2 * np.clip(work(unit), 0, 1)[width:-width, width:-width] - 1
    return restored


ALGORITHMS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "wiener": wiener,
    "richardson-lucy": richardson_lucy,
    "unsharp": unsharp,
}
