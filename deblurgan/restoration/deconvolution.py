"""Deconvolution with a known point spread function: sharp edges, no ringing from borders or from clipped highlights.

What is minimised over the sharp image x is

    weight / 2 * ||k * x - y||^2  +  sum |differences of x| ** EXPONENT

Krishnan and Fergus, "Fast image deconvolution using hyper-Laplacian priors", NIPS 2009: half-quadratic splitting
(equation 3), in which differences w of x are shrunk pixel by pixel (equation 5) and x is found in the Fourier domain
(equation 4), while the penalty beta on their disagreement grows.

What was not observed is no constraint: outside the photo y is what k * x says, and where the sensor was full, y is at
least what it says. So clipped highlights, which blur to more than white, are treated as what they are (the aim of Cho,
Wang and Lee, "Handling outliers in non-blind image deconvolution", ICCV 2011). Replacing what is missing by its
expectation at each step is the EM algorithm of censored data.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from deblurgan.images import from_linear, to_linear
from deblurgan.restoration import fourier, tiles

EXPONENT = 0.8
"""Of the hyper-Laplacian prior; photos have 0.5 to 0.8."""
BETAS = (4.0, 16.0, 64.0, 256.0)
"""Penalties of the splitting, from weak to strong."""
STEPS = 3
"""Taken with each of them."""
HURRY = 0.8
"""What was not observed is moved by so much more than its expectation asks for: fewer steps are needed."""
PRIOR = 0.2
"""The data term's weight is so much over the variance of the noise: Krishnan and Fergus' 2000 for a noise of 1 %."""
FULL = 0.985
"""Stored values from which on a sensor, or a file, is taken for full."""
ENTRIES, LARGEST = 8192, 2.0
"""Entries of the table of shrinkage, and the largest difference in it; larger ones shrink as it."""
BYTES = 320
"""Bytes of memory for a pixel while it is restored, three channels at a time."""
TILE = 1536
"""Side of tiles, pixels: larger ones are no faster."""
REACH = 8
"""How many times the kernel's radius a pixel's influence goes, to about a grey level."""


@functools.cache
def _shrinkage(beta: float) -> np.ndarray:
    """What is taken off a difference v from 0 to `LARGEST`: v less the w that minimises |w|^a + beta / 2 (w - v)^2."""
    v = np.linspace(0, LARGEST, ENTRIES)
    w = v.copy()
    for _ in range(8):  # fixed point of w = v - a / beta * w^(a - 1), from above
        w = np.maximum(v - EXPONENT / beta * np.maximum(w, 1e-8) ** (EXPONENT - 1), 0)
    better_than_zero = w**EXPONENT + beta / 2 * (w - v) ** 2 < beta / 2 * v**2
    return (v - np.where(better_than_zero, w, 0)).astype(np.float32)


def _shrunk(field: np.ndarray, beta: float) -> np.ndarray:
    size = np.abs(field)
    place = np.minimum(size * np.float32((ENTRIES - 1) / LARGEST) + np.float32(0.5), ENTRIES - 1).astype(np.int32)
    size -= _shrinkage(beta).take(place)
    return np.copysign(np.maximum(size, 0, out=size), field, out=size)


def deconvolved(
    image: np.ndarray,
    kernel: np.ndarray,
    noise: float,
    full: float = np.inf,
    steps: int = STEPS,
    origin: tuple[float, float] | None = None,
) -> np.ndarray:
    """Deconvolve one channel.

    Parameters
    ----------
    image
        Shape (H, W), about [0, 1].
    kernel
        Point spread function, shape (K, K), K odd, sum 1.
    noise
        Standard deviation of what `kernel` does not explain: noise, and errors of the kernel.
    full
        Values from which on the sensor was full.
    steps
        Taken with each penalty: one shows what comes out, more make it better.
    origin
        As of `fourier.transfer`.

    Returns
    -------
    numpy.ndarray
        `float32` of the image's shape, not clipped: highlights come out brighter than white.

    Examples
    --------
    >>> from scipy import ndimage
    >>> square = np.pad(np.ones((20, 20)), 20)
    >>> kernel = np.zeros((9, 9))
    >>> kernel[4] = 1 / 9
    >>> blurred = ndimage.convolve(square, kernel)
    >>> found = deconvolved(blurred, kernel, noise=0.004)
    >>> bool(np.abs(found - square).mean() < 0.2 * np.abs(blurred - square).mean())
    True
    """
    height, width = image.shape
    seen = image.astype(np.float32)
    clipped = seen >= full
    y = fourier.wrapped(seen, 2 * len(kernel))
    k = fourier.transfer(kernel, y.shape, origin)
    k_power, d_power = fourier.power(k), fourier.difference_power(y.shape)
    x, weight = y.copy(), PRIOR / noise**2
    for step, beta in enumerate(np.repeat(BETAS, steps)):
        if step:
            y *= -np.float32(HURRY)
            y += np.float32(1 + HURRY) * fourier.image_of(fourier.spectrum(x) * k, y.shape)
            y[:height, :width] = np.where(clipped, np.maximum(y[:height, :width], seen), seen)
        total = fourier.spectrum(y)
        total *= np.conjugate(k)
        ratio = np.float32(beta / weight)
        shrunk = [_shrunk(field, float(beta)) for field in fourier.differences(x)]
        total += ratio * fourier.spectrum(fourier.adjoint_differences(*shrunk))
        total /= k_power + ratio * d_power
        x = fourier.image_of(total, y.shape)
    return x[:height, :width]


def noise_of(image: np.ndarray) -> float:
    """Standard deviation of the noise of one channel of shape (H, W), at least a quarter of a grey level.

    The median of what is left by a filter that takes away what is locally a plane (Immerkaer, "Fast noise variance
    estimation", 1996): what is blurred has no detail there, and edges do not move a median.
    """
    second = np.array([1, -2, 1])
    left = ndimage.convolve1d(ndimage.convolve1d(image, second, axis=0), second, axis=1)
    return max(float(np.median(np.abs(left))) / (0.6745 * 6), 0.25 / 255)


def method(
    kernel: np.ndarray, noise: float, *, in_light: bool, origin: tuple[float, float] | None = None
) -> tiles.Method:
    """Restoring by `deconvolved`, channels side by side on the cores.

    Parameters
    ----------
    kernel
        Point spread function, shape (K, K), K odd, sum 1.
    noise
        As of `deconvolved`, of values in [0, 1], of light where that is mixed.
    in_light
        Whether the blur has mixed light (gamma 2.2), as in a camera, or stored values.
    origin
        As of `fourier.transfer`.
    """
    full = float(to_linear(np.array(FULL))) if in_light else FULL

    def channel(values: np.ndarray) -> np.ndarray:
        unit = (values + 1) / 2
        found = np.clip(deconvolved(to_linear(unit) if in_light else unit, kernel, noise, full, origin=origin), 0, 1)
        return 2 * (from_linear(found) if in_light else found) - 1

    def run(image: np.ndarray) -> np.ndarray:
        if np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2]):
            return np.repeat(channel(image[..., 0])[..., None], 3, axis=2)  # grey
        with ThreadPoolExecutor(min(3, os.cpu_count() or 1)) as threads:
            return np.stack(list(threads.map(channel, np.moveaxis(image, 2, 0))), axis=-1)

    return tiles.Method(run, REACH * max(1, len(kernel) // 2), BYTES, largest_tile=TILE)
