"""The point spread function of a shaken photo, estimated from the photo itself, coarse to fine.

On each level of a pyramid two steps alternate. The latent image: what is closest to the photo with few gradients (Xu,
Zheng and Jia, "Unnatural L0 sparse representation for natural image deblurring", CVPR 2013). The kernel: least squares
on gradients of the latent image (Cho and Lee, "Fast motion deblurring", SIGGRAPH Asia 2009), here within a kernel's
bounds: negative values that are cut off afterwards leave a kernel that is far less like the true one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, optimize

from deblurgan.restoration import fourier

SMALLEST = 3
"""Side of the kernel on the coarsest level."""
ROUNDS = 5
"""Times that both steps are taken on a level."""
CONTRAST = 0.2
"""Standard deviation to which photos are scaled, so that brightness and contrast change nothing."""
SPARSITY, LEAST_SPARSITY, RELAXED = 2.5e-3, 1e-4, 1.1
"""Weight of the number of gradients, its least value, and by what it is divided after each round."""
LAST_BETA = 1e3
"""Penalty at which the splitting of `latent` ends."""
RIDGE = 5.0
"""Weight of the kernel's squared norm."""
SOLVER_STEPS = 40
FAINT = 0.05
"""Share of the brightest pixel of a kernel below which a pixel counts as none."""
ISLAND = 0.1
"""Share of a kernel that a part must have which hangs together with no other."""


def latent(blurred: np.ndarray, transformed: np.ndarray, kernel: np.ndarray, sparsity: float) -> np.ndarray:
    """The image with few gradients that, blurred, is the photo: the minimum of ||k * x - y||^2 + sparsity ||Dx||_0.

    Half-quadratic splitting, equations 5 to 12 of Xu, Zheng and Jia: gradients below the square root of sparsity / beta
    are set to zero, x is found in the Fourier domain, beta doubles.

    Parameters
    ----------
    blurred, transformed
        The photo, shape (H, W), going on at its borders (`fourier.wrapped`), and its spectrum.
    kernel
        Point spread function, shape (K, K), K odd, sum 1.
    sparsity
        Weight of the number of gradients that are not zero.

    Returns
    -------
    numpy.ndarray
        `float32` of shape (H, W).
    """
    shape = blurred.shape
    k, d_power = fourier.transfer(kernel, shape), fourier.difference_power(shape)
    backwards, k_power = np.conj(k) * transformed, fourier.power(k)
    x, beta = blurred, 2 * sparsity
    while beta < LAST_BETA:
        across, down = fourier.differences(x)
        small = across * across + down * down < sparsity / beta
        across[small] = 0
        down[small] = 0
        total = fourier.spectrum(fourier.adjoint_differences(across, down))
        total *= np.float32(beta)
        total += backwards
        total /= k_power + np.float32(beta) * d_power
        x, beta = fourier.image_of(total, shape), 2 * beta
    return x


@dataclass(frozen=True)
class Equations:
    """Normal equations of the kernel, of one patch or of several together.

    Attributes
    ----------
    spectrum : numpy.ndarray
        Of the autocorrelation of the latent gradients as far as kernels of this size see it.
    correlation : numpy.ndarray
        Of latent and blurred gradients, shape (K, K).
    energy : float
        Sum of the squared latent gradients.
    """

    spectrum: np.ndarray
    correlation: np.ndarray
    energy: float

    @classmethod
    def of(cls, x: np.ndarray, gradients: Sequence[np.ndarray], trusted: np.ndarray, side: int) -> "Equations":
        """Set them up.

        Parameters
        ----------
        x
            Latent image, shape (H, W).
        gradients
            Spectra of the photo's `fourier.differences`, those that are not trusted set to zero.
        trusted
            Where gradients count, of shape (H, W).
        side
            Of the kernel.
        """
        found = [fourier.spectrum(field * trusted) for field in fourier.differences(x)]
        power = np.sum([fourier.power(field) for field in found], axis=0)
        auto = fourier.image_of(power.astype(np.complex64), x.shape)
        cross = fourier.image_of(
            np.sum([np.conj(own) * other for own, other in zip(found, gradients, strict=True)], axis=0), x.shape
        )
        auto = np.roll(auto, (side - 1, side - 1), (0, 1))[: 2 * side - 1, : 2 * side - 1].astype(np.float64)
        cross = np.roll(cross, (side // 2, side // 2), (0, 1))[:side, :side].astype(np.float64)
        size = fft.next_fast_len(3 * side - 2, real=True)
        return cls(fft.rfft2(auto, (size, size)), cross, float(auto[side - 1, side - 1]))

    def __add__(self, other: "Equations") -> "Equations":
        """Those of both."""
        return Equations(
            self.spectrum + other.spectrum, self.correlation + other.correlation, self.energy + other.energy
        )

    def applied(self, kernel: np.ndarray) -> np.ndarray:
        """The matrix times a kernel: its convolution with the autocorrelation."""
        side = len(kernel)
        size = fft.next_fast_len(3 * side - 2, real=True)
        product = self.spectrum * fft.rfft2(kernel, (size, size))
        return fft.irfft2(product, (size, size), overwrite_x=True)[side - 1 : 2 * side - 1, side - 1 : 2 * side - 1]

    def solved(self, start: np.ndarray) -> np.ndarray:
        """The kernel without negative values that minimises ||k * Dx - Dy||^2 + RIDGE ||k||^2, by L-BFGS-B."""
        shape, scale = start.shape, 1 / max(self.energy, 1e-12)

        def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
            kernel = flat.reshape(shape)
            forwards = self.applied(kernel) + RIDGE * kernel
            value = (kernel * (forwards / 2 - self.correlation)).sum()
            return scale * value, scale * (forwards - self.correlation).ravel()

        found = optimize.minimize(
            value_and_slope,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=optimize.Bounds(0, np.inf),
            options={"maxiter": SOLVER_STEPS},
        )
        return found.x.reshape(shape)


def delta(side: int) -> np.ndarray:
    """The kernel that blurs nothing."""
    kernel = np.zeros((side, side))
    kernel[side // 2, side // 2] = 1
    return kernel


def cleaned(kernel: np.ndarray) -> np.ndarray:
    """Take faint pixels and small islands out of a kernel; sum 1."""
    kernel = np.where(kernel < FAINT * kernel.max(), 0, kernel)
    if not kernel.any():
        return delta(len(kernel))
    parts, count = ndimage.label(kernel, np.ones((3, 3)))
    if count > 1:
        sums = ndimage.sum_labels(kernel, parts, np.arange(count + 1))
        kernel = np.where((sums < min(ISLAND * kernel.sum(), sums.max()))[parts], 0, kernel)
    return kernel / kernel.sum()


def centroid(kernel: np.ndarray) -> tuple[float, float]:
    """Row and column, fractions of pixels, of the middle of a kernel's light."""
    row, column = ndimage.center_of_mass(kernel)
    return float(row), float(column)


def centred(kernel: np.ndarray) -> np.ndarray:
    """Shift a kernel by whole pixels until its centroid is within half a pixel of its middle; sum 1."""
    shift = [round((len(kernel) - 1) / 2 - place) for place in centroid(kernel)]
    moved = ndimage.shift(kernel, shift, order=0) if any(shift) else kernel
    return moved / moved.sum()


def trimmed(kernel: np.ndarray) -> np.ndarray:
    """Take rows and columns without light off, alike on all sides, so that the middle stays."""
    while len(kernel) > 1 and not (kernel[[0, -1]].any() or kernel[:, [0, -1]].any()):
        kernel = kernel[1:-1, 1:-1]
    return kernel


def radius(kernel: np.ndarray) -> float:
    """Root mean square distance, in pixels, of a kernel's light from its centroid."""
    places = np.indices(kernel.shape) - np.array(centroid(kernel))[:, None, None]
    return float(np.sqrt((kernel * (places**2).sum(axis=0)).sum() / kernel.sum()))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Largest normalised cross-correlation of two kernels over all shifts by whole pixels, 0 to 1."""
    size = (len(one) + len(other),) * 2
    product = fft.rfft2(one, size) * np.conj(fft.rfft2(other, size))
    return float(fft.irfft2(product, size).max() / np.sqrt((one**2).sum() * (other**2).sum()))


def sides(largest: int) -> list[int]:
    """Sides of the kernel on the levels of the pyramid, coarse to fine: odd, each about the square root of 2 larger."""
    found = [largest]
    while found[-1] > SMALLEST:
        side = int(found[-1] / np.sqrt(2))
        found.append(max(SMALLEST, min(side - (1 - side % 2), found[-1] - 2)))
    return found[::-1]


@dataclass(frozen=True)
class Level:
    """A patch on a level of the pyramid: going on at its borders, its spectrum, those of its gradients, which count."""

    blurred: np.ndarray
    transformed: np.ndarray
    gradients: tuple[np.ndarray, ...]
    trusted: np.ndarray

    @classmethod
    def of(cls, patch: np.ndarray, full: np.ndarray, scale: float, side: int) -> "Level":
        """Reduce a patch, and leave out what lies within half a kernel of where the sensor was `full`."""
        if scale < 1:
            patch = _reduced(patch, scale)
            full = _reduced(full.astype(np.float32), scale) > 0
        blurred = fourier.wrapped(patch, side)
        trusted = np.ones(blurred.shape, np.float32)
        if full.any():
            trusted[: full.shape[0], : full.shape[1]] = ~ndimage.binary_dilation(full, iterations=side // 2)
        gradients = tuple(fourier.spectrum(field * trusted) for field in fourier.differences(blurred))
        return cls(blurred, fourier.spectrum(blurred), gradients, trusted)

    def equations(self, kernel: np.ndarray, sparsity: float) -> Equations:
        """Both halves of a round but the solution."""
        x = latent(self.blurred, self.transformed, kernel, sparsity)
        return Equations.of(x, self.gradients, self.trusted, len(kernel))


def _reduced(patch: np.ndarray, scale: float) -> np.ndarray:
    soft = ndimage.gaussian_filter(patch, 0.35 / scale)
    return ndimage.zoom(soft, scale, order=1, mode="nearest", grid_mode=True)


def _enlarged(kernel: np.ndarray, side: int) -> np.ndarray:
    """A kernel of the next level."""
    larger = np.maximum(ndimage.zoom(kernel, side / len(kernel), order=1)[:side, :side], 0)
    before = (side - len(larger)) // 2
    larger = np.pad(larger, (before, side - len(larger) - before))
    return larger / larger.sum()


Watched = Callable[[int, float], None]
"""Called after each round of an estimation with the kernel's side on its level, and the pixels that were worked on."""


def work(patches: Sequence[np.ndarray], side: int) -> float:
    """Pixels that `estimate` works on, those of a level once for each of its rounds: what its time goes with."""
    return ROUNDS * sum(patch.size * (level / side) ** 2 for patch in patches for level in sides(side))


def estimate(
    patches: Sequence[np.ndarray], side: int, full: float = np.inf, watched: Watched | None = None
) -> np.ndarray:
    """Estimate the one kernel of all patches.

    Parameters
    ----------
    patches
        Parts of a blurred photo, one channel each, `float32`, each side at least twice the kernel's.
    side
        Of the kernel, odd; larger than the blur.
    full
        Values from which on the sensor was full.
    watched
        What is told of the progress; the pixels add up to `work`.

    Returns
    -------
    numpy.ndarray
        `float64` of shape (side, side): non-negative, sum 1, its centroid within half a pixel of the middle.
    """
    contrast = np.sqrt(np.mean([patch.var() for patch in patches])) / CONTRAST or 1.0
    kernel = np.zeros((SMALLEST, SMALLEST))
    kernel[1, :2] = 0.5
    for level in sides(side):
        places = [
            Level.of((patch / contrast).astype(np.float32), patch >= full, level / side, level) for patch in patches
        ]
        if level > SMALLEST:
            kernel = _enlarged(kernel, level)
        sparsity = SPARSITY
        for _ in range(ROUNDS):
            found = [place.equations(kernel, sparsity) for place in places]
            kernel = centred(cleaned(sum(found[1:], found[0]).solved(kernel)))
            sparsity = max(sparsity / RELAXED, LEAST_SPARSITY)
            if watched:
                watched(level, sum(patch.size for patch in patches) * (level / side) ** 2)
    return kernel
