"""Deblur photos.

python -m stages.deblur PHOTO_OR_FOLDER ... --output DIR    photos of yours, see --help
python -m stages.deblur                                     the stage: data/resized/unpaired to data/deblurred
"""

import argparse
import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deblurgan.errors import UserError, reported
from deblurgan.files import new_directory, remove_partials, require
from deblurgan.images import read_rgb, write_png
from deblurgan.jobs import Job, comparison_of, find_jobs, refuse
from deblurgan.pairs import files_below
from deblurgan.photos import SUFFIXES, Photo, read_photo, side_by_side, write_photos, written_name
from deblurgan.restorer import Restorer

PHOTOS = Path("data/resized/unpaired")
MODEL = Path("models/generator.keras")
OUT = Path("data/deblurred")
CLIPS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
ALGORITHMS = ("deblurgan", "wiener", "richardson-lucy", "unsharp")
NAMED = 20
"""Of files that are left out, how many are named."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What a disk says that takes no further file either."""


def stage() -> None:
    """Deblur all photos that have no sharp partner."""
    require(PHOTOS, MODEL)
    from stages import engine  # isort: skip  before anything that imports Keras

    from deblurgan.archive import load_generator
    from deblurgan.inference import deblur

    engine.be_deterministic()
    generator = load_generator(MODEL)
    with new_directory(OUT) as out:
        for path in tqdm(files_below(PHOTOS), desc="deblur", unit="photo"):
            write_png(out / path.name, deblur(generator, read_rgb(path)))


def restorer_of(options: argparse.Namespace) -> Restorer:
    """What deblurs photos as the command line says."""
    if options.algorithm == "deblurgan":
        from stages import engine  # isort: skip  before anything that imports Keras

        from deblurgan.archive import load_generator
        from deblurgan.inference import network

        engine.be_deterministic()
        method = network(load_generator(options.model), few_sizes=not options.video)
    else:
        from deblurgan.classical import algorithm

        method = algorithm(options.algorithm, in_light=True)  # as a camera's blur
    return Restorer(method, tile=options.tile, memory=options.memory, strength=options.strength)


def deblur_photo(restorer: Restorer, path: Path, results: list[Path], options: argparse.Namespace) -> bool:
    """Deblur one file, and say whether; with `--auto` it is left as it is where it does not look blurred."""
    from deblurgan.cleaning.sharpness import looks_sharp

    photo = read_photo(path, restorer.check)
    sharp = looks_sharp(photo.colours)
    if sharp:
        done = "left as it is" if options.auto else "--auto leaves such photos as they are"
        tqdm.write(f"deblur: note: {path} does not look blurred: {done}", file=sys.stderr)
    left = sharp and options.auto
    restored = photo if left else restorer.restored(photo)
    result, *comparison = results

    def contents() -> Iterator[tuple[Path, Photo | bytes]]:
        yield result, path.read_bytes() if left and result.name == path.name else restored
        for name in comparison:
            yield name, side_by_side(photo, restored)

    write_photos(contents())
    return not left


def deblur_clip(restorer: Restorer, path: Path, results: list[Path], options: argparse.Namespace) -> bool:
    """Deblur one clip, frame by frame."""
    from deblurgan.video import deblur_video

    (target,) = results

    def restore(colours: np.ndarray) -> np.ndarray:
        return restorer.restored(Photo(colours, False, False, None, {})).colours

    for left_out in deblur_video(path, target, restore):
        tqdm.write(f"deblur: {path}: {left_out}", file=sys.stderr)
    return True


def results_of(job: Job, options: argparse.Namespace) -> list[Path]:
    """The files that are made of a file: its result, and what is asked for besides."""
    if options.video:
        return [job.place.with_suffix(".mp4")]
    result = job.place.with_name(written_name(job.source))
    return [result, comparison_of(result)] if options.compare else [result]


def say(path: Path, error: Exception) -> None:
    """Name a file that failed, and why."""
    reason = str(error)
    if isinstance(error, MemoryError):
        reason = "out of memory: try a smaller --memory"
    elif isinstance(error, OSError):
        reason = error.strerror or reason
        if error.filename and Path(error.filename) != path:  # one of the output, perhaps
            reason = f"{error.filename}: {reason}"
    tqdm.write(f"deblur: error: {path}: {reason}", file=sys.stderr)


def planned(jobs: list[Job], options: argparse.Namespace) -> tuple[list[tuple[Path, list[Path]]], int]:
    """What is to be done, each file with its results, and how many are there already; what cannot be is said."""
    todo, there, taken = [], 0, set()
    for job in jobs:
        results = results_of(job, options)
        try:
            if options.skip_existing and taken.isdisjoint(results) and all(result.is_file() for result in results):
                there += 1
            else:
                refuse(results, taken, overwrite=options.overwrite)
                todo.append((job.source, results))
        except (UserError, OSError) as error:
            say(job.source, error)
        taken.update(results)
    return todo, there


def command(options: argparse.Namespace) -> None:
    """Deblur files of the user's; those that fail or are left out are named, and the others done."""
    suffixes, work = (CLIPS, deblur_clip) if options.video else (SUFFIXES, deblur_photo)
    jobs, left_out = find_jobs(options.inputs, options.output, suffixes, recursive=options.recursive)
    for found in left_out[:NAMED]:
        print(f"deblur: left out: {found.path}: {found.reason}", file=sys.stderr)
    if len(left_out) > NAMED:
        print(f"deblur: left out: {len(left_out) - NAMED} more", file=sys.stderr)
    todo, there = planned(jobs, options)
    for folder in {result.parent for _, results in todo for result in results}:
        remove_partials(folder)
    restorer, done, left, full = restorer_of(options) if todo else None, 0, 0, False
    for path, results in tqdm(todo, desc="deblur", unit="file", disable=options.video or len(todo) < 2):
        try:
            if work(restorer, path, results, options):
                done += 1
            else:
                left += 1
        except (UserError, OSError, MemoryError) as error:
            say(path, error)
            full = isinstance(error, OSError) and error.errno in FULL
            if full:
                break
    more = {"left as they are": left, "there already": there}
    others = "".join(f", {count} {what}" for what, count in more.items() if count)
    print(f"{done} of {len(jobs)} deblurred into {options.output}{others}")
    if full:
        raise UserError(f"stopped: {options.output} takes no more; make room and go on with --skip-existing")
    if done + left + there < len(jobs):
        sys.exit(1)


def tile_option(text: str) -> str | int:
    """`auto`, `off` or a number of pixels."""
    if text in ("auto", "off"):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto, nor off, nor a number of pixels")


def number_between(lowest: float, highest: float) -> Callable[[str], float]:
    """What reads a number between two others."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest:g} to {highest:g}")
        return value

    return number


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.deblur",
        description="Deblur photos: PNG, JPEG, WebP and TIFF in and out, of any size. Transparency, EXIF, XMP, IPTC "
        "and colour profile are kept, the orientation is applied; BMP, GIF and palettes become PNG, HEIC and AVIF "
        "JPEG, or PNG if they have transparency.",
        epilog="Each file that fails is named with the reason, the others are done, and the exit code is 1. Only a "
        "full disk stops the run.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PHOTO_OR_FOLDER", help="what to deblur")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--model", type=Path, default=MODEL, help="generator to use (default: %(default)s)")
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        default="deblurgan",
        help="deblurgan, or a classical one that guesses a slight round blur (default: %(default)s)",
    )
    parser.add_argument(
        "--strength",
        type=number_between(0, 1),
        default=1.0,
        metavar="0..1",
        help="0 leaves photos as they are, 1 deblurs them fully (default: 1)",
    )
    parser.add_argument("--compare", action="store_true", help="also write before and after side by side")
    parser.add_argument(
        "--auto",
        action="store_true",
        help="leave photos that do not look blurred as they are",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace results that exist")
    existing.add_argument("--skip-existing", action="store_true", help="leave out files whose results exist")
    parser.add_argument("--recursive", action="store_true", help="look into the folders of folders, too")
    parser.add_argument(
        "--tile",
        type=tile_option,
        default="auto",
        metavar="auto|N|off",
        help="side in pixels of the tiles that the network sees; auto: the whole photo if it fits into --memory",
    )
    parser.add_argument(
        "--memory",
        type=number_between(0.1, 10000),
        default=2.5,
        metavar="GB",
        help="budget for a photo's restoration, on top of the libraries' 1 GB (default: 2.5)",
    )
    parser.add_argument(
        "--video", action="store_true", help="the inputs are clips; the results are .mp4, frame by frame"
    )
    options = parser.parse_args(arguments)
    if options.video and (options.compare or options.auto):
        parser.error("--compare and --auto are for photos, not for --video")
    return options


def main(arguments: list[str]) -> None:
    """Run the stage, or the command."""
    if arguments:
        command(read_options(arguments))
    else:
        stage()


if __name__ == "__main__":
    with reported("deblur"):
        main(sys.argv[1:])
