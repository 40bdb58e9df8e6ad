"""Blur by averaging frames of high-speed video.

The GoPro data set (Nah, Kim and Lee, CVPR 2017, section 3) averages 7 to 13 consecutive sharp frames of a 240 fps
video and calls the middle frame sharp.
"""

from collections.abc import Iterable

import numpy as np

from deblurgan.images import LINEAR_OF_BYTE, STORED_OF_BYTE, from_linear, quantize


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
