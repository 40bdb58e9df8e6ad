"""Which blur a pair gets: one motion of the whole picture, motion that varies over it, or a lens out of focus."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from deblurgan.blur.convolution import blur_image
from deblurgan.blur.layered import Motion, layered_blur, random_motion, random_region, reach_of
from deblurgan.blur.trajectory import CameraPath, random_path
from deblurgan.params import Synthesize

REGIONS = 3
"""Most regions that move by themselves."""
STILL = 0.25
"""Share of the varying blurs whose background stands still."""
DEFOCUS = (0.6, 5.0)
"""Smallest and largest radius of the disc of a lens out of focus, pixels."""
MILD_MOTION, MILD_DEFOCUS = 4.0, 1.4
"""Longest trajectory and largest radius, in pixels, of blur that hardly shows: an RMS radius of about a pixel."""
SHORTEST = 0.001
"""Pixels: a trajectory of no length has no direction."""
FINE = 8
"""Parts of a pixel, along each side, by which a disc's edge is drawn."""


@dataclass(frozen=True)
class Blur:
    """A drawn blur.

    Attributes
    ----------
    kind : str
        `motion`, `layered` or `defocus`.
    kernel : numpy.ndarray
        The point spread function, shape (K, K), K odd, sum 1; of `layered` the background's without roll and zoom.
    length, shake, exposure : float
        Of the camera's motion: length of its whole trajectory in pixels, scale of its tremor, and the share of the
        trajectory during which the shutter is open. 0 for `defocus`.
    motions : tuple of Motion
        Of `layered`: background, then regions.
    seed : int
        Of the outlines of regions.
    """

    kind: Literal["motion", "layered", "defocus"]
    kernel: np.ndarray
    length: float = 0.0
    shake: float = 0.0
    exposure: float = 0.0
    motions: tuple[Motion, ...] = field(default=())
    seed: int = 0

    def reach(self, height: int, width: int) -> int:
        """From how far away light comes into a pixel of a picture of this size, in pixels."""
        return reach_of(self.motions, height, width) if self.motions else len(self.kernel) // 2

    def applied(self, image: np.ndarray, *, linear: bool) -> np.ndarray:
        """Blur a photo.

        Parameters
        ----------
        image
            `uint8` of shape (H, W, 3).
        linear
            Whether light is mixed (gamma 2.2) or stored values.

        Returns
        -------
        numpy.ndarray
            `float32` of that shape: grey levels in [0, 255], not yet rounded.
        """
        if self.motions:
            return layered_blur(image, self.motions, self.seed, linear=linear)
        return blur_image(image, self.kernel, linear=linear)


def disc(radius: float) -> np.ndarray:
    """The point spread function of a lens out of focus: a disc, its edge as soft as pixels make it.

    Parameters
    ----------
    radius
        In pixels, at least 0.1.

    Returns
    -------
    numpy.ndarray
        `float64` of shape (K, K), K odd, sum 1.
    """
    reach = math.ceil(radius)
    side = (2 * reach + 1) * FINE
    places = (np.arange(side) + 0.5) / FINE - (reach + 0.5)
    inside = np.hypot(places[:, None], places) <= radius
    kernel = inside.reshape(2 * reach + 1, FINE, 2 * reach + 1, FINE).mean(axis=(1, 3))
    return kernel / kernel.sum()


def draw_blur(rng: np.random.Generator, settings: Synthesize, scale: float = 1.0) -> Blur:
    """Draw a blur.

    Parameters
    ----------
    rng
        Source of randomness.
    settings
        Shares of the kinds, and what trajectories are drawn from.
    scale
        Trajectories and discs are so many times as large.

    Returns
    -------
    Blur
        What to blur with.
    """
    kind = _kind(rng, settings)
    if kind == "defocus":
        return Blur(kind, disc(max(0.1, scale * rng.uniform(*DEFOCUS))))
    camera = _path(rng, settings, scale)
    kernel = camera.kernel
    if kind == "motion":
        return Blur(kind, kernel, camera.length, camera.shake, camera.exposure)
    paths = [camera.opened, *(_path(rng, settings, scale).opened for _ in range(rng.integers(1, REGIONS + 1)))]
    drawn = (camera.length, camera.shake, camera.exposure)
    if rng.random() < STILL:
        paths[0], kernel, drawn = np.zeros(2, complex), np.ones((1, 1)), (0.0, 0.0, 0.0)
    motions = tuple(random_motion(rng, path) for path in paths)
    return Blur(kind, kernel, *drawn, motions, int(rng.integers(2**32)))


def mild_blur(rng: np.random.Generator, settings: Synthesize) -> Blur:
    """Draw a blur that hardly shows: in equal shares none, a short motion, a small disc."""
    kind = rng.integers(3)
    if kind == 0:
        return Blur("motion", np.ones((1, 1)))
    if kind == 1:
        return Blur("defocus", disc(rng.uniform(0.1, MILD_DEFOCUS)))
    path = random_path(rng, length=(SHORTEST, MILD_MOTION), shake=settings.shake, exposure=settings.exposure)
    return Blur("motion", path.kernel, path.length, path.shake, path.exposure)


def shallow_focus(rng: np.random.Generator, image: np.ndarray, *, linear: bool) -> np.ndarray:
    """Put a region of a sharp photo out of focus, as a lens does with what is nearer or farther than its subject.

    Parameters
    ----------
    rng
        Draws the region, which has a soft edge, and the radius of the disc, as `DEFOCUS` says.
    image
        `uint8` of shape (H, W, 3).
    linear
        Whether light is mixed (gamma 2.2) or stored values.

    Returns
    -------
    numpy.ndarray
        `uint8` of that shape; outside of the region it is the photo.
    """
    share = random_region(rng, *image.shape[:2])[..., None] / np.float32(255)  # (H, W, 1)
    soft = blur_image(image, disc(rng.uniform(*DEFOCUS)), linear=linear)
    return np.rint(image + share * (soft - image)).astype(np.uint8)


def _kind(rng: np.random.Generator, settings: Synthesize) -> Literal["motion", "layered", "defocus"]:
    if not settings.layered and not settings.defocus:
        return "motion"  # without a draw, so that what is made does not depend on kinds that are off
    drawn = rng.random()
    if drawn < settings.layered:
        return "layered"
    return "defocus" if drawn < settings.layered + settings.defocus else "motion"


def _path(rng: np.random.Generator, settings: Synthesize, scale: float) -> CameraPath:
    shortest, longest = (max(SHORTEST, scale * length) for length in settings.length)
    return random_path(rng, length=(shortest, longest), shake=settings.shake, exposure=settings.exposure)
