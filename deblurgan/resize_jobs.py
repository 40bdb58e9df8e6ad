"""Resizing the files of a folder, a job at a time."""

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
from deblurgan.resizing import SMALLEST, resized

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
