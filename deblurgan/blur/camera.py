"""A simulated 240 fps camera: a window that moves over one photo."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

SMOOTHNESS = 20
"""Frames over which motion hardly changes: a twelfth of a second, about the period of a hand's tremor."""
SPEED_SPREAD = 0.4
"""Standard deviation of the logarithm of the speed."""


def smooth_noise(rng: np.random.Generator, frames: int, smoothness: float) -> np.ndarray:
    """Gaussian noise of unit variance, `float64` of shape (frames,), correlated over `smoothness` frames."""
    margin = round(4 * smoothness)
    noise = ndimage.gaussian_filter1d(rng.standard_normal(frames + 2 * margin), smoothness)[margin:][:frames]
    return noise * np.sqrt(2 * smoothness * np.sqrt(np.pi))


def camera_path(
    rng: np.random.Generator, frames: int, room: tuple[float, float], speed: float, rotation: float
) -> np.ndarray:
    """Draw a smooth path for the window's centre and angle: a heading that wanders, a speed that varies.

    Parameters
    ----------
    rng
        Source of randomness.
    frames
        Number of positions.
    room
        How far the centre may go from the photo's centre, down and right, in pixels; there it turns back.
    speed
        Median speed in pixels per frame.
    rotation
        Standard deviation of the roll angle in degrees.

    Returns
    -------
    numpy.ndarray
        `float64` of shape (frames, 3): offset down and right in pixels, angle in radians.
    """
    turning = 0.05 * smooth_noise(rng, frames, SMOOTHNESS)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turning)
    moved = speed * np.exp(SPEED_SPREAD * smooth_noise(rng, frames, SMOOTHNESS))
    path = np.empty((frames, 3))
    for axis, direction in enumerate((np.sin, np.cos)):
        start = rng.uniform(-room[axis], room[axis])
        path[:, axis] = fold(start + np.cumsum(moved * direction(heading)), room[axis])
    path[:, 2] = np.deg2rad(rotation) * smooth_noise(rng, frames, SMOOTHNESS)
    return path


def fold(positions: np.ndarray, limit: float) -> np.ndarray:
    """Mirror positions at -limit and +limit until they lie between; distances between neighbours stay."""
    if limit <= 0:
        return np.zeros_like(positions)
    return limit - np.abs((positions + limit) % (4 * limit) - 2 * limit)


def film(photo: np.ndarray, path: np.ndarray, width: int, height: int) -> Iterator[np.ndarray]:
    """Render what the camera sees at each position of its path.

    Parameters
    ----------
    photo
        `uint8` of shape (H, W, 3).
    path
        Shape (frames, 3), see `camera_path`.
    width, height
        Size of the frames in pixels.

    Yields
    ------
    numpy.ndarray
        Shape (height, width, 3), stored values in [0, 1]: the photo at sub-pixel positions by cubic splines.
    """
    splines = [ndimage.spline_filter(photo[..., c] / 255.0, order=3, mode="mirror") for c in range(3)]
    centre = (np.array(photo.shape[:2]) - 1) / 2
    middle = (np.array([height, width]) - 1) / 2
    for down, right, angle in path:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = centre + np.array([down, right]) - turn @ middle
        channels = [
            ndimage.affine_transform(spline, turn, offset, (height, width), order=3, mode="mirror", prefilter=False)
            for spline in splines
        ]
        yield np.clip(np.stack(channels, axis=-1), 0, 1)
