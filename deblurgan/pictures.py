"""Pictures to look at: images side by side with captions, panels of test images, gains."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image, ImageDraw, ImageFont

from deblurgan.files import new_file

PIXELS_PER_INCH = 100

CAPTION = 18
"""Height of a line of a caption, pixels."""
LETTERS = 13
"""Size of its font, where the image is wide enough."""

GAP = 4
"""White between images, pixels."""
PANEL_WIDTH = 1000
"""Width of a panel, pixels: `dvc plots diff` scales wider ones down to show two side by side."""
PANEL_HEIGHT = 400
"""Largest height of an image in a panel, pixels."""
ENLARGED = 2
"""How much the worst part is enlarged."""

INPUTS, GAINS = (15, 45), (-10, 10)
"""Ends of the axes, dB: from strongly blurred to nearly sharp inputs, and more than published networks gain."""
TICKS = (-10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10)
"""Ticks of the gain, dB: the axis is linear within 1 dB, logarithmic beyond."""


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
    font = ImageFont.load_default(LETTERS)
    assert isinstance(font, ImageFont.FreeTypeFont)  # since a size is given
    font = font.font_variant(layout_engine=ImageFont.Layout.BASIC)  # the same everywhere
    if (length := font.getlength(text)) > width - 2:
        font = font.font_variant(size=LETTERS * (width - 2) / length)
    strip = Image.new("RGB", (width, CAPTION), "white")
    ImageDraw.Draw(strip).text((width / 2, CAPTION / 2), text, "black", font, anchor="mm")
    return np.concatenate([np.asarray(strip), image])


def side_by_side(images: Sequence[np.ndarray], gap: int = GAP) -> np.ndarray:
    """Join `uint8` images of one height, white between them."""
    height = images[0].shape[0]
    bar = np.full((height, gap, 3), 255, np.uint8)
    joined = [part for image in images for part in (image, bar)][:-1]
    return np.concatenate(joined, axis=1)


def stacked(rows: Sequence[np.ndarray], gap: int = GAP) -> np.ndarray:
    """Join `uint8` images one below the other, padding narrow ones with white on the right."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, gap), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(padded)[:-gap]


def error_map(image: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Mean absolute difference over channels, four times as strong, as grey `uint8` of shape (H, W, 3)."""
    error = np.abs(image.astype(np.int16) - sharp).mean(axis=2)
    return np.repeat(np.minimum(4 * error, 255).astype(np.uint8)[..., None], 3, axis=2)


def where_worst(error: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """The part of a size where an `error_map` is largest; the whole where it is no larger than the part."""
    height, width = min(height, error.shape[0]), min(width, error.shape[1])
    sums = np.pad(error[..., 0].astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = sums[height:] - sums[:-height]
    top, left = np.unravel_index(
        np.argmax(sums[:, width:] - sums[:, :-width]), np.array(error.shape[:2]) - (height, width) + 1
    )
    return slice(top, top + height), slice(left, left + width)


def panel(images: Sequence[np.ndarray], captions: Sequence[str], title: str) -> np.ndarray:
    """Show a test image, captions above: the whole, and below the part where the input is worst, enlarged.

    Parameters
    ----------
    images
        Blurred, restored, sharp, and what else there is, `uint8` of one shape (H, W, 3).
    captions
        One for each.
    title
        What stands above all.

    Returns
    -------
    numpy.ndarray
        `uint8`, at most `PANEL_WIDTH` wide.
    """
    width = (PANEL_WIDTH + GAP) // len(images) - GAP
    height, scale = images[0].shape[0], min(width / images[0].shape[1], PANEL_HEIGHT / images[0].shape[0])
    zoom = ENLARGED * max(1, int(scale))
    part = where_worst(error_map(images[0], images[2]), max(1, int(height * scale) // zoom), width // zoom)
    wholes = [
        captioned(_cell(_scaled(image, scale), width), text) for image, text in zip(images, captions, strict=True)
    ]
    parts = [_cell(_scaled(image[part], zoom), width) for image in images]
    return captioned(stacked([side_by_side(wholes), side_by_side(parts)]), title)


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """Shrink an image, or enlarge it a whole number of times, pixels as squares."""
    if scale >= 1:
        return image.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _cell(image: np.ndarray, width: int) -> np.ndarray:
    """Put an image into the middle of white of a width."""
    left = (width - image.shape[1]) // 2
    return np.pad(image, ((0, 0), (left, width - image.shape[1] - left), (0, 0)), constant_values=255)


def save_gains(path: Path, inputs: Sequence[float], gains: Sequence[float], datasets: Sequence[str]) -> None:
    """Draw which share of the images gains how much, and the gain against how blurred the input was, both in dB.

    The axes are the same for all models, so that their pictures compare; what lies beyond is drawn at the edge.
    """
    figure = Figure((10, 4), PIXELS_PER_INCH, layout="constrained")
    shares, scatter = figure.subplots(1, 2)
    for name in sorted(set(datasets)):
        own = [(i, g) for i, g, dataset in zip(inputs, gains, datasets, strict=True) if dataset == name]
        x, y = np.clip(np.array(own), *np.transpose([INPUTS, GAINS])).T
        label = f"{name} ({len(own)})"
        shares.ecdf(y, complementary=True, label=label)
        scatter.scatter(x, y, s=14, label=label, clip_on=False)
    shares.set(xlabel="gain in PSNR, dB", ylabel="share of images that gain so much or more", ylim=(0, 1))
    shares.yaxis.set_major_formatter(PercentFormatter(1))
    scatter.set(
        xlabel="PSNR of the blurred input, dB (more blurred to the left)", ylabel="gain in PSNR, dB", xlim=INPUTS
    )
    shares.set_xscale("symlog", linthresh=1)
    scatter.set_yscale("symlog", linthresh=1)
    shares.set_xlim(GAINS)
    scatter.set_ylim(GAINS)
    for axis in (shares.xaxis, scatter.yaxis):
        axis.set_ticks(TICKS, [f"{tick:+g}" if tick else "0" for tick in TICKS])
    for axes, draw, place in ((shares, "axvline", "lower left"), (scatter, "axhline", "upper right")):
        getattr(axes, draw)(0, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
        axes.legend(loc=place)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the picture alone
    with new_file(path) as partial:
        partial.write_bytes(buffer.getvalue())
