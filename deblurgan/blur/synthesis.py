"""Making pairs: sharp photos with random motion blur, and averaged frames of high-speed video.

Pairs that an earlier run made of the same images are kept: blurring thousands of photos takes hours.
"""

import hashlib
import importlib.metadata
import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from deblurgan import images, seeds
from deblurgan.blur import convolution, frame_averaging, kinds, layered, trajectory
from deblurgan.blur.convolution import add_noise
from deblurgan.blur.frame_averaging import average_frames
from deblurgan.blur.kinds import Blur, draw_blur
from deblurgan.errors import UserError
from deblurgan.files import cache_directory, files_below, link_or_copy, sha256_of, write_json
from deblurgan.images import read_rgb, write_png
from deblurgan.layout import GOPRO_SCENE, Place, place_of, split_name
from deblurgan.params import Split, Synthesize
from deblurgan.seeds import seed_for
from deblurgan.splits import split_of, with_validation

PARTS = ("train", "val", "test")
BATCH = 4
"""Pairs of a photo in a job: it is decoded once for them."""


@dataclass(frozen=True)
class Made:
    """A row of pairs.csv: the blurred image relative to the output folder, and how it was made.

    `kind` is `motion`, `layered`, `defocus`, or `frames` for averaged ones. Lengths in pixels; `extent` is the width of
    the kernel, `frames` how many were averaged. What does not apply is 0.
    """

    path: str
    kind: str
    length: float = 0
    shake: float = 0
    exposure: float = 0
    extent: int = 0
    frames: int = 0


Known = dict[str, dict[str, str]]
"""Checksum of what a blurred image was made of, to its name, to its own checksum."""


class Earlier:
    """Pairs that earlier runs made with the same settings, seed and code, in the folder that the stage will replace.

    A pair is taken over only if its checksum is still the one noted when it was made: the folder may have been changed
    meanwhile. The notes lie in the cache directory: no output depends on them.

    Parameters
    ----------
    folder
        Of the earlier run's pairs; it need not be there.
    settings, seed
        The pipeline's.
    """

    def __init__(self, folder: Path, settings: Synthesize, seed: int) -> None:
        self.folder = folder.resolve()
        modules = (convolution, frame_averaging, kinds, layered, trajectory, images, seeds)
        code = [sha256_of(file) for file in (__file__, *(inspect.getfile(module) for module in modules))]
        versions = [importlib.metadata.version(name) for name in ("numpy", "scipy", "pillow")]
        drawn = settings.model_dump(exclude={"pairs_per_photo", "frames_per_pair"})
        recipe = hashlib.sha256(json.dumps([drawn, seed, code, versions], sort_keys=True).encode())
        self._notes = cache_directory() / "synthesized" / f"{recipe.hexdigest()[:16]}.json"
        self._scenes: dict[str, Known] = {}
        if self._notes.is_file():
            try:
                self._scenes = json.loads(self._notes.read_text(encoding="utf-8"))
            except ValueError:
                print(f"{self._notes} is damaged: all pairs are made anew")

    def of(self, scene: str) -> Known:
        """Notes of earlier runs on a photo or scene, `<data set>/<scene>`."""
        return self._scenes.get(scene, {})

    def note(self, scene: str, known: Known) -> None:
        """Add what was made now."""
        for content, sums in known.items():
            self._scenes.setdefault(scene, {}).setdefault(content, {}).update(sums)

    def write(self) -> None:
        """Keep the notes for later runs."""
        write_json(self._notes, self._scenes)


@dataclass(frozen=True)
class Done:
    """The result of a job: rows of pairs.csv, notes for later runs, and how many pairs an earlier run had made."""

    rows: list[Made]
    scene: str
    known: Known
    kept: int


def take_earlier(folder: Path, scene: str, target: Path, checksum: str | None) -> bool:
    """Make `target` the blurred image that an earlier run made, in whatever split, if it has that checksum."""
    for part in PARTS if checksum else ():
        found = folder / part / scene / "blur" / target.name
        if found.is_file() and sha256_of(found) == checksum:
            link_or_copy(found, target)
            return True
    return False


@dataclass(frozen=True)
class PhotoJob:
    """Some of a photo's pairs; `folder` and `known`: see `Earlier`."""

    photo: Path
    numbers: range
    scene: Path
    name: str
    settings: Synthesize
    seed: int
    folder: Path
    known: Known


@dataclass(frozen=True)
class FramesJob:
    """One pair from consecutive frames; `folder` and `known`: see `Earlier`."""

    frames: tuple[Path, ...]
    scene: Path
    name: str
    in_light: bool
    folder: Path
    known: Known


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
    return draw_blur(rng, settings), rng


def photo_jobs(
    clean: Path, out: Path, settings: Synthesize, split: Split, seed: int, earlier: Earlier
) -> list[PhotoJob]:
    """List the pairs to make below `out` of the sharp photos without a partner below `clean`."""
    jobs = []
    numbers = range(settings.pairs_per_photo)
    for path in files_below(clean / "unsplash" / "sharp"):
        place = Place("unsplash", "unsplit", split_name(path.stem), "sharp")
        name = f"{split_of(place, split)}/unsplash/{path.stem}"
        scene = out.resolve() / name
        known = earlier.of(f"unsplash/{path.stem}")
        for i in range(0, len(numbers), BATCH):
            some = numbers[i : i + BATCH]
            jobs.append(PhotoJob(path.absolute(), some, scene, name, settings, seed, earlier.folder, known))
    return jobs


def blur_photo(job: PhotoJob) -> Done:
    """Make the pairs of a job."""
    content, scene = sha256_of(job.photo), job.name.partition("/")[2]
    before = job.known.get(content, {})
    sharp, rows, sums, kept = None, [], {}, 0
    for i in job.numbers:
        blur, rng = blur_of(job.photo.stem, i, job.settings, job.seed)
        target = job.scene / "blur" / f"{i:04d}.png"
        if take_earlier(job.folder, scene, target, before.get(target.name)):
            kept += 1
        else:
            sharp = read_rgb(job.photo) if sharp is None else sharp
            blurred = blur.applied(sharp, linear=job.settings.in_light)
            write_png(target, add_noise(blurred, rng, job.settings.noise))
        sums[target.name] = sha256_of(target)
        link_or_copy(job.photo, job.scene / "sharp" / f"{i:04d}.png")  # clean images are PNGs already
        drawn = (blur.kind, round(blur.length, 2), blur.shake, blur.exposure, len(blur.kernel))
        rows.append(Made(f"{job.name}/blur/{i:04d}.png", *drawn))
    return Done(rows, scene, {content: sums}, kept)


def frames_jobs(
    clean: Path, out: Path, settings: Synthesize, split: Split, earlier: Earlier
) -> tuple[list[FramesJob], list[str]]:
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
        name = f"{split_of(place, split)}/{place.dataset}/{place.scene}"
        runs = list(consecutive(paths, count))
        known = earlier.of(f"{place.dataset}/{place.scene}")
        made = out.resolve() / name
        jobs += [FramesJob(run, made, name, settings.in_light, earlier.folder, known) for run in runs]
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
        run.append(path.absolute())  # not resolved: a link into DVC's cache has another name
        previous = (clip, number)
        if len(run) == count:
            yield tuple(run)
            run = []


def average_run(job: FramesJob) -> Done:
    """Make the pair of consecutive frames; it is named as the middle one."""
    middle, scene = job.frames[len(job.frames) // 2], job.name.partition("/")[2]
    target = job.scene / "blur" / middle.name
    content = hashlib.sha256("".join(sha256_of(frame) for frame in job.frames).encode()).hexdigest()
    kept = take_earlier(job.folder, scene, target, job.known.get(content, {}).get(target.name))
    if not kept:
        try:
            blur = average_frames((read_rgb(frame) for frame in job.frames), linear=job.in_light)
        except ValueError as error:
            raise UserError(f"{middle.parent}: {error}") from None
        write_png(target, blur)
    link_or_copy(middle, job.scene / "sharp" / middle.name)
    row = Made(f"{job.name}/blur/{middle.name}", "frames", frames=len(job.frames))
    return Done([row], scene, {content: {target.name: sha256_of(target)}}, int(kept))


def count_pairs(job: PhotoJob | FramesJob) -> int:
    """Count the pairs of a job."""
    return len(job.numbers) if isinstance(job, PhotoJob) else 1


def make_pairs(job: PhotoJob | FramesJob) -> Done:
    """Do either job."""
    return blur_photo(job) if isinstance(job, PhotoJob) else average_run(job)
