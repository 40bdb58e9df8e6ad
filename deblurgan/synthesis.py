"""Making pairs: sharp photos with random motion blur, and averaged frames of high-speed video."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from deblurgan.blur.camera import average_frames
from deblurgan.blur.convolution import add_noise, blur_image
from deblurgan.blur.trajectory import Blur, random_blur
from deblurgan.errors import UserError
from deblurgan.files import link_or_copy
from deblurgan.images import read_rgb, write_png
from deblurgan.pairs import GOPRO_SCENE, Place, files_below, place_of, seed_for, with_validation
from deblurgan.params import Split, Synthesize

BATCH = 4
"""Pairs of a photo in a job: it is decoded once for them."""


@dataclass(frozen=True)
class Made:
    """A row of pairs.csv: the blurred image relative to the output folder, and how it was made.

    Lengths in pixels; `extent` is the width of the kernel, `frames` how many were averaged. What does not apply is 0.
    """

    path: str
    length: float = 0
    shake: float = 0
    exposure: float = 0
    extent: int = 0
    frames: int = 0


@dataclass(frozen=True)
class PhotoJob:
    """Some of a photo's pairs."""

    photo: Path
    numbers: range
    scene: Path
    name: str
    settings: Synthesize
    seed: int


@dataclass(frozen=True)
class FramesJob:
    """One pair from consecutive frames."""

    frames: tuple[Path, ...]
    scene: Path
    name: str
    in_light: bool


def blur_of(photo: str, number: int, settings: Synthesize, seed: int) -> tuple[Blur, np.random.Generator]:
    """Draw the blur of a photo's pair.

    Parameters
    ----------
    photo, number
        Id of the photo, number of the pair: nothing else of the data set has an influence.
    settings, seed
        The pipeline's.

    Returns
    -------
    blur, rng
        The source of randomness goes on with the sensor noise.
    """
    rng = np.random.default_rng(seed_for(seed, "synthesize", photo, str(number)))
    return random_blur(rng, length=settings.length, shake=settings.shake, exposure=settings.exposure), rng


def photo_jobs(clean: Path, out: Path, settings: Synthesize, split: Split, seed: int) -> list[PhotoJob]:
    """List the pairs to make below `out` of the sharp photos without a partner below `clean`."""
    jobs = []
    numbers = range(settings.pairs_per_photo)
    for path in files_below(clean / "unsplash" / "sharp"):
        place = Place("unsplash", "unsplit", path.stem, "sharp")
        name = f"{place.split(split)}/unsplash/{path.stem}"
        scene = out.resolve() / name
        for i in range(0, len(numbers), BATCH):
            jobs.append(PhotoJob(path.resolve(), numbers[i : i + BATCH], scene, name, settings, seed))
    return jobs


def blur_photo(job: PhotoJob) -> list[Made]:
    """Make the pairs of a job."""
    sharp = read_rgb(job.photo)
    made = []
    for i in job.numbers:
        blur, rng = blur_of(job.photo.stem, i, job.settings, job.seed)
        blurred = blur_image(sharp, blur.kernel, linear=job.settings.in_light)
        write_png(job.scene / "blur" / f"{i:04d}.png", add_noise(blurred, rng, job.settings.noise))
        link_or_copy(job.photo, job.scene / "sharp" / f"{i:04d}.png")  # clean images are PNGs already
        drawn = (round(blur.length, 2), blur.shake, blur.exposure, len(blur.kernel))
        made.append(Made(f"{job.name}/blur/{i:04d}.png", *drawn))
    return made


def frames_jobs(clean: Path, out: Path, settings: Synthesize, split: Split) -> tuple[list[FramesJob], list[str]]:
    """Cut the frames of each scene into runs of consecutive ones that are averaged.

    Returns
    -------
    jobs, left_out
        The pairs, and a line for each scene that has frames left over.
    """
    scenes: dict[Place, list[Path]] = defaultdict(list)
    for path in files_below(clean / "pairs"):
        place = place_of(PurePosixPath(path.relative_to(clean)))
        if place and place.kind == "frames":
            scenes[place].append(path)
    split = with_validation(split, scenes)
    jobs, left_out = [], []
    for place, paths in scenes.items():
        named = GOPRO_SCENE.fullmatch(place.scene)
        count = int(named[1]) if named and int(named[1]) % 2 else settings.frames_per_pair
        name = f"{place.split(split)}/{place.dataset}/{place.scene}"
        runs = list(consecutive(paths, count))
        jobs += [FramesJob(run, out.resolve() / name, name, settings.in_light) for run in runs]
        if rest := len(paths) - count * len(runs):
            left_out.append(f"{place.scene}: {rest} of {len(paths)} frames left over by runs of {count} in a row")
    return jobs, left_out


def consecutive(paths: list[Path], count: int) -> Iterator[tuple[Path, ...]]:
    """Cut the files of a video into runs of `count` without a gap in the numbers at the end of their names.

    Where no name ends in a number, the files count as they are sorted.
    """
    parts = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in paths]
    if any(parts):  # frames without a number are of no run, and of one clip only those that begin alike
        clips = sorted((part[1], int(part[2]), path) for part, path in zip(parts, paths, strict=True) if part)
    else:
        clips = [("", number, path) for number, path in enumerate(paths)]
    run: list[Path] = []
    previous = ("", -2)
    for clip, number, path in clips:
        if (clip, number - 1) != previous:
            run = []
        run.append(path.resolve())
        previous = (clip, number)
        if len(run) == count:
            yield tuple(run)
            run = []


def average_run(job: FramesJob) -> list[Made]:
    """Make the pair of consecutive frames; it is named as the middle one."""
    middle = job.frames[len(job.frames) // 2]
    try:
        blur = average_frames((read_rgb(frame) for frame in job.frames), linear=job.in_light)
    except ValueError as error:
        raise UserError(f"{middle.parent}: {error}") from None
    write_png(job.scene / "blur" / middle.name, blur)
    link_or_copy(middle, job.scene / "sharp" / middle.name)
    return [Made(f"{job.name}/blur/{middle.name}", frames=len(job.frames))]


def count_pairs(job: PhotoJob | FramesJob) -> int:
    """Count the pairs of a job."""
    return len(job.numbers) if isinstance(job, PhotoJob) else 1


def make_pairs(job: PhotoJob | FramesJob) -> list[Made]:
    """Do either job."""
    return blur_photo(job) if isinstance(job, PhotoJob) else average_run(job)
