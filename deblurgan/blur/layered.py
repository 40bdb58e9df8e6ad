"""Blur that varies over a picture: a camera that also rolls and zooms, and regions that move by paths of their own.

Street photos and the frames of the GoPro data set have it, and one kernel for a whole photo cannot give it: a car and
the wall behind it move differently. An exposure is rendered as frames, each the photo with its regions at their places
of the moment, which are averaged.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image
from scipy import ndimage

from deblurgan.blur.frame_averaging import mean_of_frames
from deblurgan.images import quantize

FEWEST, MOST = 5, 17
"""Frames of an exposure."""
STEP = 2.0
"""Pixels between the places of two frames, up to `MOST` frames: the eye sees no steps."""
ROLL, ZOOM = 0.4, 0.004
"""Standard deviations, over an exposure, of the angle in degrees and of the logarithm of the scale."""
AREA = (0.05, 0.5)
"""Smallest and largest share of the picture that a region takes."""
EDGE = (0.5, 4.0)
"""Smallest and largest standard deviation, in pixels, of the softness of a region's edge."""
TAPS = 2
"""Pixels to each side from which bicubic interpolation mixes."""
GRID = 5
"""A region's outline has about so many bends along each side of the picture."""


@dataclass(frozen=True)
class Motion:
    """How a plane moves during an exposure.

    Attributes
    ----------
    path : numpy.ndarray
        Complex offsets x + iy in pixels, equally spaced in time, mean 0.
    roll, zoom : float
        Angle in radians, and logarithm of the scale, at the end of the exposure; minus these at its beginning.
    """

    path: np.ndarray
    roll: float = 0.0
    zoom: float = 0.0

    def at(self, moment: float) -> tuple[complex, float, float]:
        """Offset in pixels, angle in radians and scale at a moment in [0, 1]."""
        offset = self.path[round(moment * (len(self.path) - 1))]
        return offset, self.roll * (2 * moment - 1), math.exp(self.zoom * (2 * moment - 1))

    def turned(self, height: int, width: int) -> float:
        """How far roll and zoom take a corner of a picture of this size from its place, in pixels."""
        return math.hypot(height, width) / 2 * (abs(self.roll) + math.expm1(abs(self.zoom)))


def random_motion(rng: np.random.Generator, path: np.ndarray) -> Motion:
    """Add roll and zoom to a path, complex offsets in pixels, which is moved to mean 0.

    The more the path moves, the more the camera rolls and zooms: both vanish with an exposure that is short.
    """
    centred = path - path.mean()
    share = min(1.0, float(np.abs(centred).max()) / 5)
    roll, zoom = share * math.radians(ROLL) * rng.standard_normal(), share * ZOOM * rng.standard_normal()
    return Motion(centred, roll, zoom)


def random_region(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a region with a soft edge, `uint8` of shape (height, width): 0 outside, 255 inside."""
    coarse = rng.standard_normal((GRID, GRID)).astype(np.float32)
    field = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    inside = field >= np.quantile(field, 1 - rng.uniform(*AREA))
    return np.rint(ndimage.gaussian_filter(inside * np.float32(255), rng.uniform(*EDGE))).astype(np.uint8)


def reach_of(motions: tuple[Motion, ...], height: int, width: int) -> int:
    """From how far away light comes into a pixel of a picture of this size, in pixels."""
    return math.ceil(max(np.abs(m.path).max() + m.turned(height, width) for m in motions)) + TAPS


def _way_of(motions: tuple[Motion, ...], height: int, width: int) -> float:
    """Length of the longest way that a pixel of a picture of this size goes, in pixels."""
    return max(np.abs(np.diff(m.path)).sum() + 2 * m.turned(height, width) for m in motions)


def layered_blur(image: np.ndarray, motions: tuple[Motion, ...], seed: int, *, linear: bool = True) -> np.ndarray:
    """Blur a photo whose background moves by the first motion, and a region of it by each of the others.

    Parameters
    ----------
    image
        `uint8` of shape (H, W, 3). What moves into the picture is mirrored at its borders.
    motions
        Of the background, then of regions, each in front of those before it.
    seed
        Of the regions' outlines.
    linear
        Whether light is averaged (gamma 2.2) or stored values.

    Returns
    -------
    numpy.ndarray
        `float32` of shape (H, W, 3): grey levels in [0, 255], not yet rounded. Where nothing moves it is the photo.
    """
    mean = mean_of_frames(frames_of(image, motions, seed), linear=linear)
    return (255 * mean).astype(np.float32)


def frames_of(image: np.ndarray, motions: tuple[Motion, ...], seed: int) -> Iterator[np.ndarray]:
    """Render the frames of an exposure, `uint8` of the photo's shape; see `layered_blur`."""
    height, width = image.shape[:2]
    margin = reach_of(motions, height, width)
    # channels as float32: Pillow's interpolation of bytes cuts fractions off, which darkens
    padded = np.pad(image.astype(np.float32), ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    channels = [Image.fromarray(np.ascontiguousarray(padded[..., i])) for i in range(3)]
    rng = np.random.default_rng(seed)
    regions = [_Region.drawn(rng, height, width, margin) for _ in motions[1:]]
    count = min(MOST, max(FEWEST, math.ceil(_way_of(motions, height, width) / STEP)))
    for i in range(count):
        moment = (i + 0.5) / count
        frame = _moved(channels, motions[0].at(moment), margin, (0, 0, width, height))
        for motion, region in zip(motions[1:], regions, strict=True):
            place, (left, top, right, bottom) = motion.at(moment), region.box
            behind = frame[top:bottom, left:right]
            front = _moved(channels, place, margin, region.box)
            behind += _moved([region.mask], place, margin, region.box, Image.Resampling.BILINEAR) * (front - behind)
        yield quantize(frame / 255)


@dataclass(frozen=True)
class _Region:
    """A mask with a margin, 0 to 1, and the box (left, top, right, bottom) of the picture that it may move in."""

    mask: Image.Image
    box: tuple[int, int, int, int]

    @classmethod
    def drawn(cls, rng: np.random.Generator, height: int, width: int, margin: int) -> Self:
        """Draw one."""
        region = random_region(rng, height, width)
        (top, bottom), (left, right) = (
            (max(0, places.min() - margin), min(side, places.max() + 1 + margin))
            for places, side in zip(region.nonzero(), region.shape, strict=True)
        )
        mask = np.pad(region, margin, mode="edge").astype(np.float32) / 255
        return cls(Image.fromarray(mask), (left, top, right, bottom))


def _moved(
    channels: list[Image.Image],
    place: tuple[complex, float, float],
    margin: int,
    box: tuple[int, int, int, int],
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> np.ndarray:
    """Shift, turn and scale an image about its centre, and cut a box out of what lies within its margins, (H, W, C)."""
    offset, angle, scale = place
    centre_x, centre_y = channels[0].width / 2, channels[0].height / 2
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    # from the middle of the shifted picture to a corner of the box
    x, y = box[0] + margin - centre_x - offset.real, box[1] + margin - centre_y - offset.imag
    affine = (cosine, sine, centre_x + cosine * x + sine * y, -sine, cosine, centre_y - sine * x + cosine * y)
    size = (box[2] - box[0], box[3] - box[1])
    moved = [np.asarray(part.transform(size, Image.Transform.AFFINE, affine, resample)) for part in channels]
    return np.stack(moved, axis=-1)
