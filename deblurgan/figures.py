"""Pictures to look at: rows of images side by side, and panels with captions."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from deblurgan.files import new_file

PIXELS_PER_INCH = 100


def side_by_side(images: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Join `uint8` images of one height, white between them."""
    height = images[0].shape[0]
    bar = np.full((height, gap, 3), 255, np.uint8)
    joined = [part for image in images for part in (image, bar)][:-1]
    return np.concatenate(joined, axis=1)


def stacked(rows: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Join `uint8` images one below the other, padding narrow ones with white on the right."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, gap), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(padded)[:-gap]


def save_panel(path: Path, images: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """Write images of one size side by side, each with a caption above, pixel for pixel.

    Parameters
    ----------
    path
        A PNG.
    images
        `uint8` of shape (H, W, 3).
    captions
        One for each image.
    """
    height, width = images[0].shape[:2]
    top = 24
    figure = Figure((len(images) * width / PIXELS_PER_INCH, (height + top) / PIXELS_PER_INCH), PIXELS_PER_INCH)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_axes((i / len(images), 0, 1 / len(images), height / (height + top)))
        axes.imshow(image, interpolation="none")
        axes.set_axis_off()
        axes.set_title(caption, fontsize=10, pad=4)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    with new_file(path) as partial:
        partial.write_bytes(buffer.getvalue())
