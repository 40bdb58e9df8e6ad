"""Motion blur from random camera trajectories.

DeblurGAN was trained with this trajectory model (Kupyn et al., CVPR 2018, section 4), after Boracchi and Foi, "Modeling
the performance of image restoration from motion blur", IEEE TIP 2012. What differs here: the kernel is centred on its
centroid, so that a pair is not shifted; it sums to one, so that brightness stays; light is mixed linearly; borders are
mirrored instead of darkened.
"""

import cmath
import math
from dataclasses import dataclass

import numpy as np

STEPS = 2000
"""Positions in a trajectory."""


def random_trajectory(rng: np.random.Generator, length: float, shake: float, steps: int = STEPS) -> np.ndarray:
    """Draw the path of a hand-held camera during one exposure.

    Parameters
    ----------
    rng
        Source of randomness.
    length
        Length of the path in pixels; the speed is constant, so it is met exactly.
    shake
        Scale of tremor and of sudden jerks; DeblurGAN used 0.003 (nearly straight) to 0.01 (tangled).
    steps
        Number of positions, at least 2.

    Returns
    -------
    numpy.ndarray
        `complex128` of shape (steps,): x + iy in pixels, starting at 0.
    """
    inertia, jerk_chance, tremor = 0.7 * rng.random(), 0.2 * rng.random(), 10 * rng.random()
    step = length / (steps - 1)
    velocity = step * cmath.exp(2j * math.pi * rng.random())
    jerks = rng.random(steps - 1) < jerk_chance * shake
    turns = math.pi + rng.random(steps - 1) - 0.5
    noise = rng.standard_normal(steps - 1) + 1j * rng.standard_normal(steps - 1)
    path = [0j]  # Python's own numbers: one by one they are four times as fast as NumPy's
    for jerks_now, turn, trembling in zip(jerks.tolist(), turns.tolist(), noise.tolist(), strict=True):
        pull = shake * (tremor * trembling - inertia * path[-1]) * step
        jerk = 2 * velocity * cmath.exp(1j * turn) if jerks_now else 0
        velocity = velocity + jerk + pull
        velocity *= step / abs(velocity)
        path.append(path[-1] + velocity)
    return np.array(path)


def kernel_from_path(path: np.ndarray) -> np.ndarray:
    """The point-spread function of a path: the time spent at each pixel.

    Parameters
    ----------
    path
        Complex positions x + iy in pixels, equally spaced in time.

    Returns
    -------
    numpy.ndarray
        `float64` of shape (K, K), K odd and as small as the path allows, non-negative, sum 1, and with its
        centroid at the centre of the middle pixel (each position is shared bilinearly by four pixels).

    Examples
    --------
    A camera that spends as long at each of three pixels of a row:

    >>> kernel_from_path(np.array([0, 1, 2])).round(2)
    array([[0.  , 0.  , 0.  ],
           [0.33, 0.33, 0.33],
           [0.  , 0.  , 0.  ]])
    """
    path = path - path.mean()
    radius = math.ceil(max(np.abs(path.real).max(), np.abs(path.imag).max()))
    size = 2 * radius + 3  # one spare pixel a side: a position may round to the next one
    x, y = path.real + radius + 1, path.imag + radius + 1
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    dx, dy = x - column, y - row
    kernel = np.zeros((size, size))
    for r, c, weight in (
        (row, column, (1 - dy) * (1 - dx)),
        (row, column + 1, (1 - dy) * dx),
        (row + 1, column, dy * (1 - dx)),
        (row + 1, column + 1, dy * dx),
    ):
        np.add.at(kernel, (r, c), weight)
    while len(kernel) > 1 and not (kernel[[0, -1]].any() or kernel[:, [0, -1]].any()):
        kernel = kernel[1:-1, 1:-1]
    return kernel / kernel.sum()


@dataclass(frozen=True)
class CameraPath:
    """Where a camera moves while its shutter is open, and what the motion was drawn as.

    Attributes
    ----------
    opened : numpy.ndarray
        `complex128`: x + iy in pixels, equally spaced in time.
    length, shake, exposure : float
        Length of the whole trajectory in pixels, scale of the tremor, and the part of the trajectory with an open
        shutter.
    """

    opened: np.ndarray
    length: float
    shake: float
    exposure: float

    @property
    def kernel(self) -> np.ndarray:
        """The point spread function, see `kernel_from_path`."""
        return kernel_from_path(self.opened)


def random_path(
    rng: np.random.Generator, *, length: tuple[float, float], shake: tuple[float, ...], exposure: tuple[float, ...]
) -> CameraPath:
    """Draw the motion of a shaking camera.

    Parameters
    ----------
    rng
        Source of randomness.
    length
        Lowest and highest length of the whole trajectory in pixels; drawn uniformly.
    shake
        Shake scales to choose from (see `random_trajectory`).
    exposure
        Fractions of the trajectory, in (0, 1], during which the shutter is open; one is chosen.

    Returns
    -------
    CameraPath
        The motion, and what was drawn.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> path = random_path(rng, length=(20, 40), shake=(0.003, 0.01), exposure=(0.5, 1.0))
    >>> 20 <= path.length <= 40
    True
    >>> round(float(path.kernel.sum()), 6)
    1.0
    """
    drawn_length, drawn_shake = rng.uniform(*length), float(rng.choice(shake))
    path = random_trajectory(rng, drawn_length, drawn_shake)
    drawn_exposure = float(rng.choice(exposure))
    opened = path[: max(2, round(drawn_exposure * len(path)))]
    return CameraPath(opened, drawn_length, drawn_shake, drawn_exposure)
