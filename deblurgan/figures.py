"""Pictures to look at: rows of images side by side, and panels with captions."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from deblurgan.files import new_file

PIXELS_PER_INCH = 100

CAPTION = 18
"""Height of a line of a caption, pixels."""
LETTERS = 13
"""Size of its font, where the image is wide enough."""


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text on white above an image.

    Parameters
    ----------
    image
        `uint8` of shape (H, W, 3).
    text
        One line; where it is wider than the image, its letters become smaller.

    Returns
    -------
    numpy.ndarray
        `uint8` of shape (`CAPTION` + H, W, 3).
    """
    width = image.shape[1]
    font = ImageFont.load_default(LETTERS).font_variant(layout_engine=ImageFont.Layout.BASIC)  # the same everywhere
    if (length := font.getlength(text)) > width - 2:
        font = font.font_variant(size=LETTERS * (width - 2) / length)
    strip = Image.new("RGB", (width, CAPTION), "white")
    ImageDraw.Draw(strip).text((width / 2, CAPTION / 2), text, "black", font, anchor="mm")
    return np.concatenate([np.asarray(strip), image])


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


def save_panel(path: Path, rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str]) -> None:
    """Write rows of images of one size, pixel for pixel, with a caption above each column.

    Parameters
    ----------
    path
        A PNG.
    rows
        Of `uint8` images of shape (H, W, 3), as many in each row.
    captions
        One for each column.
    """
    height, width = rows[0][0].shape[:2]
    top, columns = 24, len(captions)
    total = len(rows) * height + top
    figure = Figure((columns * width / PIXELS_PER_INCH, total / PIXELS_PER_INCH), PIXELS_PER_INCH)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            bottom = (len(rows) - 1 - r) * height / total
            axes = figure.add_axes((c / columns, bottom, 1 / columns, height / total))
            axes.imshow(image, interpolation="none")
            axes.set_axis_off()
            if r == 0:
                axes.set_title(captions[c], fontsize=10, pad=4)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG that depends on the picture alone."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    with new_file(path) as partial:
        partial.write_bytes(buffer.getvalue())


def error_map(image: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Mean absolute difference over channels, four times as strong, as grey `uint8` of shape (H, W, 3)."""
    error = np.abs(image.astype(np.int16) - sharp).mean(axis=2)
    return np.repeat(np.minimum(4 * error, 255).astype(np.uint8)[..., None], 3, axis=2)


def enlarged_part(images: Sequence[np.ndarray], error: np.ndarray, factor: int = 4) -> list[np.ndarray]:
    """Cut the same part out of all images, where the error is largest, and enlarge it to their size.

    Parameters
    ----------
    images
        `uint8` of one shape (H, W, 3).
    error
        See `error_map`.
    factor
        By how much.
    """
    height, width = (side // factor for side in error.shape[:2])
    local = ndimage.uniform_filter(error[..., 0].astype(np.float32), (height, width))
    middle = local[height // 2 : -height // 2 or None, width // 2 : -width // 2 or None]
    top, left = np.unravel_index(np.argmax(middle), middle.shape)
    size = error.shape[1::-1]
    parts = (Image.fromarray(image[top : top + height, left : left + width]) for image in images)
    return [np.asarray(part.resize(size, Image.Resampling.NEAREST)) for part in parts]


def save_gains(path: Path, inputs: Sequence[float], gains: Sequence[float], datasets: Sequence[str]) -> None:
    """Draw how many images gained how much, and the gain against how blurred the input was, both in dB."""
    figure = Figure((10, 4), PIXELS_PER_INCH, layout="constrained")
    counts, scatter = figure.subplots(1, 2)
    names = sorted(set(datasets))
    parts = [[(i, g) for i, g, name in zip(inputs, gains, datasets, strict=True) if name == one] for one in names]
    counts.hist([[gain for _, gain in part] for part in parts], bins=20, stacked=True, label=names)
    counts.set(xlabel="gain in PSNR, dB", ylabel="test images")
    for name, part in zip(names, parts, strict=True):
        scatter.scatter(*zip(*part, strict=True), s=14, label=name)
    scatter.set(xlabel="PSNR of the blurred input, dB (more blurred to the left)", ylabel="gain in PSNR, dB")
    for axes, draw in ((counts, "axvline"), (scatter, "axhline")):
        getattr(axes, draw)(0, color="black", linewidth=0.8)
        axes.legend()
    _save(figure, path)
