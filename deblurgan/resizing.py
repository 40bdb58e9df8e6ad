"""Resizing; both halves of a pair have one size, so they always get the same geometry."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deblurgan.cleaning.across_splits import Sharp, sharp_image
from deblurgan.files import link_or_copy, naming, sha256_of
from deblurgan.images import write_png
from deblurgan.params import Resize

FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
REDUCING_GAP = 2.5
"""Images that shrink more than this are first averaged over whole blocks of pixels: half the time, and on photos a PSNR
above 47 dB against the filter alone, an error of one grey level."""
SMALLEST = 16
"""Pixels; SSIM needs 11, the generator mirrors up to 16."""
PLACE = 5
"""Parts at the end of a path that say where an image of a pair belongs: split, data set, scene, kind, name."""


@dataclass(frozen=True)
class ResizeJob:
    """Images of one folder, each with its place; equal files are resized once."""

    images: tuple[tuple[Path, Path], ...]
    settings: Resize


@dataclass(frozen=True)
class Resized:
    """Sources of a job that were left out, because they would become too thin for the networks; its sharp images."""

    left_out: list[Path]
    sharp: list[Sharp]


def resized(image: Image.Image, settings: Resize) -> Iterator[tuple[str, Image.Image]]:
    """Bring an image to its size.

    Parameters
    ----------
    image
        Mode RGB.
    settings
        `none` keeps it; `fit` scales it down, keeping its aspect ratio, until it lies within the given size; `pad`
        does that and mirrors it at its right and lower borders up to exactly that size; `crop` scales it until it
        covers the given size and keeps the middle; `stretch` gives it exactly the given size, whatever its aspect
        ratio; `tile` cuts it, unscaled, into pieces of the given size, the last ones flush with the border.

    Yields
    ------
    suffix, image
        What to add to the name, empty but for tiles; and the image, the very same one if nothing changes.
    """
    width, height = settings.width, settings.height
    if settings.mode == "none":
        yield "", image
    elif settings.mode == "stretch":
        yield "", _scaled(image, (width, height), settings)
    elif settings.mode == "crop":
        scale = max(width / image.width, height / image.height)
        across, down = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        covering = _scaled(image, (across, down), settings)
        yield "", _cropped(covering, (across - width) // 2, (down - height) // 2, width, height)
    elif settings.mode == "tile":
        for top in _starts(image.height, height):
            for left in _starts(image.width, width):
                yield f"_y{top:05d}x{left:05d}", _cropped(image, left, top, width, height)
    else:
        scale = min(width / image.width, height / image.height, 1)
        inside = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = _scaled(image, inside, settings)
        yield "", _padded(small, width, height) if settings.mode == "pad" else small


def _scaled(image: Image.Image, size: tuple[int, int], settings: Resize) -> Image.Image:
    if size == image.size:
        return image
    return image.resize(size, FILTERS[settings.filter], reducing_gap=REDUCING_GAP)


def _cropped(image: Image.Image, left: int, top: int, width: int, height: int) -> Image.Image:
    right, bottom = min(left + width, image.width), min(top + height, image.height)
    whole = (left, top, right, bottom) == (0, 0, *image.size)
    return image if whole else image.crop((left, top, right, bottom))


def _padded(image: Image.Image, width: int, height: int) -> Image.Image:
    if (width, height) == image.size:
        return image
    missing = ((0, height - image.height), (0, width - image.width), (0, 0))
    return Image.fromarray(np.pad(np.asarray(image), missing, mode="symmetric"))


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side."""
    starts = list(range(0, max(1, length - tile + 1), tile))
    return starts if starts[-1] + tile >= length else [*starts, length - tile]


def resize_files(job: ResizeJob) -> Resized:
    """Resize the images of a job, and describe its sharp halves of pairs, as they were before."""
    done: dict[str, list[tuple[str, Path]]] = {}
    found = Resized([], [])
    sizes = Counter(source.stat().st_size for source, _ in job.images)
    for source, target in job.images:
        content = sha256_of(source) if sizes[source.stat().st_size] > 1 else str(source)
        with naming(target):
            if content in done:
                for suffix, path in done[content]:
                    link_or_copy(path, target.with_stem(target.stem + suffix))
            else:
                with Image.open(source) as image:
                    done[content] = list(_resize_file(image, source, target, job.settings))
                    if done[content] and target.parent.name == "sharp":
                        found.sharp.append(sharp_image("/".join(target.parts[-PLACE:]), image))
        if not done[content]:
            found.left_out.append(source)
    return found


def _resize_file(image: Image.Image, source: Path, target: Path, settings: Resize) -> Iterator[tuple[str, Path]]:
    """Write what an image becomes; nothing when that is too thin."""
    for suffix, small in resized(image, settings):
        path = target.with_stem(target.stem + suffix)
        if min(small.size) < SMALLEST:
            continue
        if small is image:
            link_or_copy(source, path)
        else:
            write_png(path, np.asarray(small))
        yield suffix, path
