"""A simulated 240 fps camera, and blur by averaging its frames.

The GoPro data set (Nah, Kim and Lee, CVPR 2017, section 3) averages 7 to 13 consecutive sharp frames of a
240 fps video and calls the middle frame sharp. Here the video is made by moving a window over one photo.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import ndimage

from deblurgan.images import LINEAR_OF_BYTE, STORED_OF_BYTE, from_linear, quantize

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


def average_frames(frames: Iterable[np.ndarray], *, linear: bool) -> np.ndarray:
    """Average consecutive frames as the GoPro data set does.

    Parameters
    ----------
    frames
        `uint8` of shape (H, W, 3), one at a time: memory does not grow with their number.
    linear
        Whether to average light (gamma 2.2; the data set's `blur_gamma`) or stored values (its `blur`).

    Returns
    -------
    numpy.ndarray
        `uint8` of shape (H, W, 3).

    Raises
    ------
    ValueError
        The frames have different sizes, or there are none.

    Examples
    --------
    Black and white, as stored values and as light:

    >>> frames = [np.full((1, 1, 3), level, np.uint8) for level in (0, 255)]
    >>> average_frames(frames, linear=False)[0, 0].tolist()
    [128, 128, 128]
    >>> average_frames(frames, linear=True)[0, 0].tolist()
    [186, 186, 186]
    """
    return quantize(mean_of_frames(frames, linear=linear))


def mean_of_frames(frames: Iterable[np.ndarray], *, linear: bool) -> np.ndarray:
    """The average that `average_frames` rounds, `float64` of shape (H, W, 3), stored values in [0, 1]."""
    values = LINEAR_OF_BYTE if linear else STORED_OF_BYTE
    total: np.ndarray | None = None
    count = 0
    for frame in frames:
        if total is not None and total.shape != frame.shape:
            raise ValueError(f"frames of one size can be averaged; got {total.shape} and {frame.shape}")
        total = values[frame] if total is None else total + values[frame]
        count += 1
    if total is None:
        raise ValueError("no frames to average")
    return from_linear(total / count) if linear else total / count
