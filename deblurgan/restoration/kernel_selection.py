"""Blind deconvolution: the one blur of a shaken photo is estimated from the photo itself, and undone if it explains it.

`kernel_estimation` finds a point spread function, `deconvolution` undoes it. Here several are found, from several parts
of the photo and up to several sizes, and judged without the sharp photo: what undoes a blur makes gradients sparse,
what does not makes them ring. So a wrong size, a scene with several motions and a photo that is sharp are noticed.
"""

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import ndimage

from deblurgan.cleaning.sharpness import looks_sharp
from deblurgan.images import to_linear
from deblurgan.parallel import usable_cores
from deblurgan.restoration import deconvolution, tiles
from deblurgan.restoration.kernel_estimation import centroid, estimate, likeness, radius, sides, trimmed, work

Told = Callable[[str, float], None]
"""Called while a blur is estimated with what is done, in words, and the share of the work that is done, 0 to 1."""

Part = TypeVar("Part")

SIDES = (21, 35, 61)
"""Sides of kernels that are tried, pixels."""
PATCH = 384
"""Most pixels along a side of the parts that a kernel is estimated from: four, one in each quarter of the photo. More
only where `PART` asks for them."""
STEP = 32
"""Pixels between places where a part may lie."""
PART = 3
"""A part is at least so many times as large as the kernel, so that most of its pixels are seen blurred whole."""
EDGES = 1.5
"""Standard deviation, in pixels, of the Gaussian of the gradients that parts are chosen for."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)

KERNEL_ERROR = 0.005
"""What an estimated kernel leaves unexplained, of values in [0, 1], on top of the noise."""
GRAIN = 0.7
"""Standard deviation, in pixels, of a Gaussian that takes grain away before gradients are counted as sparse or not."""
BORDER = 16
"""Pixels at the borders of a part that are not judged."""
NO_WORSE = 0.005
"""A smaller kernel is taken where its `Estimate.sparsity` is by no more than this above the best."""


@dataclass(frozen=True)
class Limit:
    """When one blur explains a photo: the less its kernels agree, the sparser its gradients have to become.

    Attributes
    ----------
    sparsity, worst
        Highest `Estimate.sparsity`, and highest of a single part.
    held_out, agreement, consistency
        Highest, lowest and lowest of `Estimate`.
    """

    sparsity: float
    worst: float
    held_out: float = math.inf
    agreement: float = 0.0
    consistency: float = 0.0


LIMITS = (
    Limit(0.86, 1.0, held_out=0.871),
    Limit(0.9, 1.0, agreement=0.8),
    Limit(0.95, 1.1, agreement=0.9, consistency=0.93),
)
"""One blur explains a photo that keeps within one of these limits. No filmed frame of GoPro and REDS, and no photo of
several motions, that blind deconvolution harms keeps within any."""
SLIGHT = 2.0
"""Root mean square radius, in pixels, up to which a blur is too slight to be told from the photo's own softness."""


@dataclass(frozen=True)
class Estimate:
    """The blur of a photo, and what speaks for it.

    Attributes
    ----------
    kernel : numpy.ndarray
        Point spread function, shape (K, K), K odd, sum 1.
    noise : float
        As of `deconvolution.method`.
    sparsities : tuple of float
        Of each part of the photo: the ratio of its gradients' mean to their root mean square after the deconvolution,
        over the ratio before. Below 1: sparser (the measure of Krishnan, Tay and Fergus, "Blind deconvolution using a
        normalized sparsity measure", CVPR 2011).
    agreement : float
        Likeness, 0 to 1, of the kernels of two halves of the photo; 0 where only a quarter has edges.
    held_out : float
        Mean of `sparsities` as each half's kernel gives them for the other half; infinite where there are no halves.
    consistency : float
        Median likeness of the kernel to all that were found, of all sides and of halves: a kernel that grows with the
        side is one of the photo's texture.
    nothing : str
        Why nothing was estimated.
    """

    kernel: np.ndarray
    noise: float
    sparsities: tuple[float, ...]
    agreement: float
    held_out: float
    consistency: float
    nothing: str = ""

    @property
    def sparsity(self) -> float:
        """Mean of `sparsities`; 1 where nothing was estimated."""
        return float(np.mean(self.sparsities or (1.0,)))

    @property
    def doubt(self) -> str:
        """Why the photo is better left as it is; empty if one blur explains it."""
        if not self.sparsities:
            return self.nothing
        if radius(self.kernel) < SLIGHT:
            return "its blur is slight"
        explained = any(
            self.sparsity <= limit.sparsity
            and max(self.sparsities) <= limit.worst
            and self.held_out <= limit.held_out
            and self.agreement >= limit.agreement
            and self.consistency >= limit.consistency
            for limit in LIMITS
        )
        return "" if explained else "no single blur explains it"

    def method(self, *, in_light: bool) -> tiles.Method:
        """What undoes the blur; the kernel's centroid, up to half a pixel off its middle, stays where it is."""
        return deconvolution.method(self.kernel, self.noise, in_light=in_light, origin=centroid(self.kernel))


def estimate_blur(
    colours: np.ndarray, *, in_light: bool, side: int | None = None, told: Told | None = None
) -> Estimate:
    """Estimate the blur of a photo.

    Parameters
    ----------
    colours
        `float32` of shape (H, W, 3) in [-1, 1].
    in_light
        Whether the blur has mixed light (gamma 2.2), as in a camera, or stored values.
    side
        Of the kernel, pixels, odd; None: the smallest of `SIDES` that does.
    told
        What is told of the progress, by one thread at a time.

    Returns
    -------
    Estimate
        The same for the same photo on any number of cores.
    """
    grey = (colours @ GREY + np.float32(1)) / 2
    values = to_linear(grey) if in_light else np.clip(grey, 0, 1)
    if looks_sharp(colours):
        return _nothing("it does not look blurred", values)
    full = float(to_linear(np.array(deconvolution.FULL))) if in_light else deconvolution.FULL
    longest = min(grey.shape) // 2 // PART
    tried = [one for one in ([side] if side else SIDES) if one <= longest]
    if not tried:
        return _nothing(f"too small for a blur of {side or min(SIDES)} pixels", values)
    parts = edged_parts(values, full, max(PATCH, PART * max(tried)))
    if not parts:
        return _nothing("without edges that show a blur", values)
    noise = _noise(parts)
    progress = _Progress(told, parts, tried)
    with ThreadPoolExecutor(usable_cores()) as threads:
        found = [_estimated(parts, one, noise, full, threads, progress) for one in tried]
    best = min(one.sparsity for one, _ in found)
    chosen = next(one for one, _ in found if one.sparsity <= best + NO_WORSE)
    alike = [likeness(chosen.kernel, other) for _, kernels in found for other in kernels]
    return replace(chosen, consistency=float(np.median(alike)))


def _noise(parts: Sequence[np.ndarray]) -> float:
    return float(np.hypot(np.median([deconvolution.noise_of(part) for part in parts]), KERNEL_ERROR))


def _nothing(why: str, values: np.ndarray) -> Estimate:
    return Estimate(np.ones((1, 1)), _noise([values]), (), 0.0, math.inf, 0.0, why)


def edged_parts(values: np.ndarray, full: float, most: int = PATCH) -> list[np.ndarray]:
    """In each quarter of a channel the square with most edges, clipped highlights left out; those without edges go."""
    strength = ndimage.gaussian_gradient_magnitude(values, EDGES)
    strength[ndimage.maximum_filter(values, 2 * math.ceil(4 * EDGES) + 1) >= full] = 0
    height, width = (min(most, side // 2) for side in values.shape)
    parts, sums = [], []
    for top in (0, values.shape[0] // 2):
        for left in (0, values.shape[1] // 2):
            quarter = strength[top : top + values.shape[0] // 2, left : left + values.shape[1] // 2]
            total = np.pad(quarter.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
            boxes = (
                total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
            )
            boxes = boxes[::STEP, ::STEP]
            y, x = np.unravel_index(boxes.argmax(), boxes.shape)
            y, x = top + STEP * int(y), left + STEP * int(x)
            parts.append(np.ascontiguousarray(values[y : y + height, x : x + width], np.float32))
            sums.append(float(boxes.max()))
    return [part for part, total in zip(parts, sums, strict=True) if total > 0.1 * max(sums)]


def _halves(parts: Sequence[Part]) -> tuple[Sequence[Part], ...]:
    """Parts that lie across from each other, or what belongs to them; nothing where there is one only."""
    return (parts[::3], parts[1:3]) if len(parts) > 1 else ()


class _Progress:
    """Adds up what the estimations of several kernels have worked on, each in a thread of its own."""

    def __init__(self, told: Told | None, parts: Sequence[np.ndarray], tried: Sequence[int]) -> None:
        self.told, self.tried, self.done, self.lock = told, tried, 0.0, threading.Lock()
        self.total = sum(work(some, side) for side in tried for some in (parts, *_halves(parts)))

    def of(self, side: int) -> Callable[[int, float], None]:
        """What `estimate` calls for kernels of a side."""
        scales, number = sides(side), self.tried.index(side) + 1

        def watched(level: int, pixels: float) -> None:
            with self.lock:
                self.done += pixels
                if self.told:
                    scale = f"scale {scales.index(level) + 1} of {len(scales)}"
                    self.told(f"size {number} of {len(self.tried)}, {scale}", min(self.done / self.total, 1.0))

        return watched


def _estimated(
    parts: Sequence[np.ndarray],
    side: int,
    noise: float,
    full: float,
    threads: ThreadPoolExecutor,
    progress: _Progress,
) -> tuple[Estimate, list[np.ndarray]]:
    """The best kernel of a side, and all: of all parts together and of two halves of them."""
    watched = progress.of(side)
    together = threads.submit(estimate, parts, side, full, watched)
    apart = list(threads.map(lambda half: estimate(half, side, full, watched), _halves(parts)))
    kernels = [together.result(), *apart]
    agreement = likeness(*apart) if apart else 0.0
    candidates = [trimmed(kernel) for kernel in kernels]
    judged = list(threads.map(lambda kernel: tuple(_sparser(part, kernel, noise, full) for part in parts), candidates))
    best = min(range(len(candidates)), key=lambda i: (np.mean(judged[i]), i))
    held_out = np.mean([*_halves(judged[2])[0], *_halves(judged[1])[1]]) if apart else math.inf
    return Estimate(candidates[best], noise, judged[best], agreement, float(held_out), 1.0), candidates


def _sparser(part: np.ndarray, kernel: np.ndarray, noise: float, full: float) -> float:
    """The ratio of `Estimate.sparsities`; what a clipped highlight may have spread to does not count."""
    after = deconvolution.deconvolved(part, kernel, noise, full, steps=1)
    clipped = part >= full
    counted = ~ndimage.binary_dilation(clipped, iterations=len(kernel) // 2 + 1) if clipped.any() else ~clipped
    before = _mean_to_root_mean_square(part, counted)
    return _mean_to_root_mean_square(np.clip(after, 0, 1), counted) / before if before else 1.0  # flat where it counts


def _mean_to_root_mean_square(image: np.ndarray, counted: np.ndarray) -> float:
    """Of gradients: low where few are large and the others vanish."""
    inner = slice(BORDER, -BORDER)
    soft, counted = (one[inner, inner] for one in (ndimage.gaussian_filter(image, GRAIN), counted))
    down, across = np.diff(soft, axis=0)[:, 1:], np.diff(soft, axis=1)[1:]
    power = (down**2 + across**2)[counted[1:, 1:]]
    return float(np.sqrt(power).mean() / max(np.sqrt(power.mean()), 1e-9)) if power.size else 1.0
