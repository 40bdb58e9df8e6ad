"""Deblur photos.

python -m stages.deblur PHOTO_OR_FOLDER ... --output DIR    photos of yours, see --help
python -m stages.deblur                                     the stage: data/resized/unpaired to data/deblurred
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from deblurgan.errors import UserError, reported
from deblurgan.files import new_directory
from deblurgan.images import read_rgb, write_png
from deblurgan.pairs import files_below
from deblurgan.photos import Photo, read_photo, side_by_side, write_photo, written_name
from deblurgan.restorer import Restorer

PHOTOS = Path("data/resized/unpaired")
MODEL = Path("models/generator.keras")
OUT = Path("data/deblurred")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
"""What is taken for a photo in a folder."""
CLIPS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
ALGORITHMS = ("deblurgan", "wiener", "richardson-lucy", "unsharp")


def stage() -> None:
    """Deblur all photos that have no sharp partner."""
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


def visible(path: Path, folder: Path) -> bool:
    """Whether nothing on the way from a folder to a file is hidden: macOS keeps notes on photos in `._photo.jpg`."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def targets(inputs: list[Path], output: Path, suffixes: tuple[str, ...], *, recursive: bool) -> Iterator:
    """Yield every file to deblur, and where its result goes: below `output` as below the folder that was named."""
    results = output.resolve()
    for named in inputs:
        if named.is_dir():
            paths = sorted(path for path in named.glob("**/*" if recursive else "*") if visible(path, named))
            if named.resolve() in results.parents:  # what an earlier run made is not to be deblurred again
                paths = [path for path in paths if results not in path.resolve().parents]
            files = [path for path in paths if path.is_file() and path.suffix.lower() in suffixes]
            if not files:
                more = "" if recursive else "; --recursive looks into its folders, too"
                raise UserError(f"{named}: no file {', '.join(suffixes)} in this folder{more}")
            for path in files:
                yield path, output / path.relative_to(named)
        elif named.exists():
            yield named, output / named.name
        else:
            raise UserError(f"{named}: no such file or folder")


def deblur_photo(restorer: Restorer, path: Path, target: Path, options: argparse.Namespace) -> None:
    """Deblur one file."""
    target = target.with_name(written_name(target))
    comparison = target.with_name(f"{target.stem}_before_after{target.suffix}")
    for result in (target, comparison) if options.compare else (target,):
        if result.exists() and not options.overwrite:
            raise UserError(f"{result} exists; --overwrite replaces it")
    photo = read_photo(path, restorer.check)
    restored = restorer.restored(photo)
    write_photo(target, restored)
    if options.compare:
        write_photo(comparison, side_by_side(photo, restored))


def deblur_clip(restorer: Restorer, path: Path, target: Path, options: argparse.Namespace) -> None:
    """Deblur one clip, frame by frame."""
    from deblurgan.video import deblur_video

    target = target.with_suffix(".mp4")
    if target.exists() and not options.overwrite:
        raise UserError(f"{target} exists; --overwrite replaces it")
    deblur_video(path, target, lambda colours: restorer.restored(Photo(colours, False, False, None, {})).colours)


def command(options: argparse.Namespace) -> None:
    """Deblur files of the user's; those that fail are named, and the others done."""
    suffixes, work = (CLIPS, deblur_clip) if options.video else (SUFFIXES, deblur_photo)
    jobs = list(targets(options.inputs, options.output, suffixes, recursive=options.recursive))
    restorer, failed, taken = restorer_of(options), 0, set()
    for path, target in tqdm(jobs, desc="deblur", unit="file", disable=options.video or len(jobs) == 1):
        try:
            name = target.with_suffix(".mp4") if options.video else target.with_name(written_name(target))
            if name in taken:
                raise UserError(f"another file is written as {name}: give them an output folder each")
            taken.add(name)
            work(restorer, path, target, options)
        except (UserError, OSError, MemoryError) as error:
            failed += 1
            if isinstance(error, MemoryError):
                reason = "out of memory: try a smaller --memory"
            else:
                reason = getattr(error, "strerror", None) or str(error)
            tqdm.write(f"deblur: error: {path}: {reason}", file=sys.stderr)
    print(f"{len(jobs) - failed} of {len(jobs)} deblurred into {options.output}")
    if failed:
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
        description="Deblur photos: PNG, JPEG, WebP and TIFF in and out, of any size. Transparency, EXIF and colour "
        "profile are kept, the orientation is applied; BMP, GIF and palettes become PNG.",
        epilog="Each file that fails is named with the reason, the others are done, and the exit code is 1.",
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
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")
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
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Run the stage, or the command."""
    if arguments:
        command(read_options(arguments))
    else:
        stage()


if __name__ == "__main__":
    with reported("deblur"):
        main(sys.argv[1:])
