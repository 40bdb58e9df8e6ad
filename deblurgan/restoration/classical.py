"""Classical algorithms: unsharp masking, and deconvolution by Wiener's filter and by Richardson and Lucy."""

import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage import restoration

from deblurgan.images import from_linear, to_linear
from deblurgan.restoration import fourier, tiles

GUESS = 1.5
"""Standard deviation, in pixels, of the round Gaussian that stands for a blur that is not known."""

ITERATIONS = 30
"""Iterations of Richardson and Lucy, for a kernel that is known."""
CAUTIOUS = 10
"""For a kernel that is guessed: its errors grow with each iteration, and 30 leave photos worse than they were."""

RINGS = 8
"""How many times the kernel's radius Wiener's filter rings on, for a kernel whose spectrum falls off smoothly."""
MEETING = 4
"""How many times the kernel's side opposite borders have to meet, before Wiener's filter takes them for neighbours."""

BYTES = 160
"""Bytes of memory for a pixel while it is restored, most of them for Fourier transforms in float64."""

TILE = 1024
"""Side of tiles, pixels: larger ones are no faster, and show less often how far the work is."""


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
        `float64` of shape (H, W), one channel in [0, 1].
    kernel
        Shape (K, K), K odd, sum 1.

    Returns
    -------
    numpy.ndarray
        Of the same shape, not clipped.
    """
    deviation = _deviation(kernel)
    return 2 * image - ndimage.gaussian_filter(image, deviation, mode="reflect")


def wiener(image: np.ndarray, kernel: np.ndarray, balance: float = 0.02) -> np.ndarray:
    """Divide by the kernel's spectrum where it is strong; parameters as of `unsharp`, `balance` against noise."""
    height, width = image.shape
    around = fourier.wrapped(image, MEETING * len(kernel)).astype(np.float64)  # borders that do not meet ring far
    return restoration.wiener(around, kernel, balance, clip=False)[:height, :width]


def richardson_lucy(image: np.ndarray, kernel: np.ndarray, iterations: int = ITERATIONS) -> np.ndarray:
    """Iterate towards the image that is likeliest with Poisson noise; parameters as of `unsharp`."""
    return restoration.richardson_lucy(image, kernel, iterations, filter_epsilon=1e-6)


ALGORITHMS: dict[str, Callable[..., np.ndarray]] = {
    "wiener": wiener,
    "richardson-lucy": richardson_lucy,
    "unsharp": unsharp,
}


def algorithm(name: str, kernel: np.ndarray | None = None, *, in_light: bool) -> tiles.Method:
    """Restoring by one of `ALGORITHMS`, each channel by itself.

    Parameters
    ----------
    name
        Of the algorithm.
    kernel
        Point spread function of the blur, shape (K, K), K odd, sum 1. None: it is not known; `guessed_kernel`.
    in_light
        Whether the blur has mixed light (gamma 2.2), as in a camera, or stored values.

    Examples
    --------
    >>> from skimage import data
    >>> from deblurgan.blur.convolution import blur_image
    >>> from deblurgan.evaluation.metrics import psnr
    >>> sharp = data.astronaut()[:128, :128]
    >>> kernel = guessed_kernel(2.0)
    >>> blurred = np.rint(blur_image(sharp, kernel)).astype(np.uint8)
    >>> restored = tiles.deblur(algorithm("wiener", kernel, in_light=True), blurred)
    >>> psnr(restored, sharp) > psnr(blurred, sharp) + 1
    True
    """
    iterations = CAUTIOUS if kernel is None else ITERATIONS
    kernel = guessed_kernel() if kernel is None else kernel
    options = {"iterations": iterations} if name == "richardson-lucy" else {}
    reach = _reach(name, kernel, iterations)

    def run(image: np.ndarray) -> np.ndarray:
        restored = np.empty_like(image, dtype=np.float32)
        for channel in range(3):
            values = (image[..., channel].astype(np.float64) + 1) / 2
            values = np.pad(to_linear(values) if in_light else values, reach, mode="symmetric")  # Fourier wraps around
            found = np.clip(ALGORITHMS[name](values, kernel, **options)[reach:-reach, reach:-reach], 0, 1)
            restored[..., channel] = 2 * (from_linear(found) if in_light else found) - 1
        return restored

    return tiles.Method(run, reach, BYTES, largest_tile=TILE)


def _reach(name: str, kernel: np.ndarray, iterations: int) -> int:
    """How far a pixel's influence goes, to within a hundredth of a grey level with kernels as of a round blur.

    Each iteration of Richardson and Lucy blurs twice, and n blurs spread as the square root of n.
    """
    radius = max(1, len(kernel) // 2)
    if name == "unsharp":
        return math.ceil(4 * _deviation(kernel)) + 1  # where SciPy cuts a Gaussian off
    return RINGS * radius if name == "wiener" else math.ceil(radius * (1 + math.sqrt(2 * iterations)))


def _deviation(kernel: np.ndarray) -> float:
    """Standard deviation of the round Gaussian that is as wide as a kernel, pixels."""
    squares = (np.arange(len(kernel)) - len(kernel) // 2) ** 2
    return max(0.5, float(np.sqrt((kernel * (squares + squares[:, None])).sum() / 2)))
