"""`python -m deblurgan deblur`: photos, folders and clips of the user's."""

import argparse
import errno
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deblurgan.errors import UserError
from deblurgan.files import remove_partials
from deblurgan.pretrained import PRETRAINED
from deblurgan.restoration.explosions import HARDLY, Guard, labelled
from deblurgan.restoration.exported import SUFFIX, ExportedGenerator, export_of
from deblurgan.restoration.jobs import DeblurJob, LeftOut, comparison_of, find_jobs, kernel_of, refuse
from deblurgan.restoration.options import BLIND, BUILT_IN, MODEL, read_options
from deblurgan.restoration.photo_files import SUFFIXES, Photo, before_and_after, read_photo, write_photos, written_name
from deblurgan.restoration.restorer import Look, Restorer
from deblurgan.restoration.tiles import Method

CLIPS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
NAMED = 20
"""At most so many of the files that are left out are named."""
ALWAYS = "; --always keeps the correction"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk after which no further file can be written."""


def restorer_of(options: argparse.Namespace) -> Restorer:
    """Build the restorer that the command line asks for."""
    if options.algorithm in BLIND:
        from deblurgan.restoration.blind import BlindRestorer

        network = argparse.Namespace(**{**vars(options), "algorithm": "deblurgan"})
        return BlindRestorer(
            options.kernel_size,
            functools.partial(restorer_of, network) if options.algorithm == "auto" else None,
            **{name: getattr(options, name) for name in ("tile", "memory", "strength")},
        )
    if options.algorithm == "deblurgan":
        method, guard = by_network(options)
    else:
        from deblurgan.restoration.classical import algorithm

        method, guard = algorithm(options.algorithm, in_light=True), None  # as a camera's blur
    return Restorer(method, tile=options.tile, memory=options.memory, strength=options.strength, guard=guard)


def by_network(options: argparse.Namespace) -> tuple[Method, Guard]:
    """Restoring by the generator that the command line asks for.

    An exported one runs in ONNX Runtime, for which nothing of TensorFlow and Keras is imported: they take seconds.
    """
    model = options.model or MODEL
    ways = {"few_sizes": not options.video, "ensemble": options.ensemble, "restrained": not options.always}
    if not options.model and not any(path.is_file() for path in (MODEL, MODEL.with_suffix(SUFFIX))):
        print(f"deblur: note: there is no {MODEL}: the pretrained generator is used", file=sys.stderr)
        model = BUILT_IN
    if model == BUILT_IN:
        exported: ExportedGenerator | None = export_of(PRETRAINED)
        model = PRETRAINED
    elif model.suffix == SUFFIX:
        exported = ExportedGenerator(model)
    else:
        exported = None if options.model else export_of(model)  # who names a .keras file gets it
    if exported:
        return exported.restoring(**ways)
    from deblurgan import backend  # isort: skip  before anything that imports Keras

    from deblurgan.networks.model_files import load_generator
    from deblurgan.restoration.neural import restoring

    backend.be_deterministic()
    generator = load_generator(model)
    print(f"deblur: note: {model} is run by Keras; {hint(model)}", file=sys.stderr)
    return restoring(generator, **ways)


def hint(model: Path) -> str:
    """How to get a model that starts faster."""
    made = model.with_suffix(SUFFIX)
    return f"`python -m deblurgan export {model}` makes {made}; with `--model {made}` this starts in a second"


def deblur_photo(restorer: Restorer, path: Path, results: list[Path], options: argparse.Namespace) -> bool:
    """Deblur one file, and say whether: `--skip-sharp`, the network and blind deconvolution leave some."""
    restorer.left_out()  # of a photo that failed
    photo = read_photo(path, restorer.check)
    left = options.skip_sharp and does_not_look_blurred(photo)
    if left:
        tqdm.write(f"deblur: note: {path} does not look blurred: left as it is", file=sys.stderr)
    look = restorer.look(photo) if not left or options.show_kernel else Look()
    if look.said and not left:
        tqdm.write(f"deblur: note: {path}: {look.said}", file=sys.stderr)
    left = left or look.leave
    restored = photo if left else restorer.restored(photo)
    if not left:
        say_left_out(path, restorer.left_out())
        left = restored is photo
    result, *others = results

    def contents() -> Iterator[tuple[Path, Photo | bytes]]:
        yield result, path.read_bytes() if left and result.name == path.name else restored
        for name in others:
            yield name, look.kernel if name == kernel_of(result) else before_and_after(photo, restored)

    write_photos((name, written) for name, written in contents() if not (options.skip_existing and name.exists()))
    return not left


def does_not_look_blurred(photo: Photo) -> bool:
    """What `--skip-sharp` leaves."""
    from deblurgan.cleaning.sharpness import looks_sharp

    return looks_sharp(photo.colours)


def deblur_clip(restorer: Restorer, path: Path, results: list[Path], options: argparse.Namespace) -> bool:
    """Deblur one clip, frame by frame."""
    from deblurgan.restoration.video import deblur_video

    (target,) = results
    restorer.left_out()  # of a clip that failed

    def restore(colours: np.ndarray) -> np.ndarray:
        return restorer.restored(Photo(colours, False, False, None, {})).colours

    for left_out in deblur_video(path, target, restore):
        tqdm.write(f"deblur: {path}: {left_out}", file=sys.stderr)
    say_left_out(path, restorer.left_out())
    return True


def say_left_out(path: Path, said: str) -> None:
    """Print what a guard has said of a result, if anything."""
    if said:
        tqdm.write(f"{labelled(path, said)}{ALWAYS if HARDLY in said else ''}", file=sys.stderr)


def results_of(job: DeblurJob, options: argparse.Namespace) -> list[Path]:
    """The files that are written for a file: its result, with --compare the comparison, with --show-kernel its blur."""
    if options.video:
        return [job.place.with_suffix(".mp4")]
    result = job.place.with_name(written_name(job.source))
    more = [comparison_of(result)] if options.compare else []
    return [result, *more, *([kernel_of(result)] if options.show_kernel else [])]


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


def planned(jobs: list[DeblurJob], options: argparse.Namespace) -> tuple[list[tuple[Path, list[Path]]], int]:
    """The files to deblur, each with its results, and how many have results already; refused files are named."""
    todo, there, taken = [], 0, set[Path]()
    originals = {job.source.resolve() for job in jobs}
    for job in jobs:
        results = results_of(job, options)
        try:
            if options.skip_existing and taken.isdisjoint(results) and all(result.is_file() for result in results):
                there += 1
            else:
                refuse(results, taken, originals, overwrite=options.overwrite or options.skip_existing)
                todo.append((job.source, results))
        except (UserError, OSError) as error:
            say(job.source, error)
        taken.update(results)
    return todo, there


@dataclass
class Outcome:
    """How many files were deblurred, how many were left as they are, and whether the disk is full."""

    done: int = 0
    left: int = 0
    full: bool = False


def deblur_all(todo: list[tuple[Path, list[Path]]], options: argparse.Namespace) -> Outcome:
    """Deblur files one by one; files that fail are named, and only a full disk ends the run."""
    outcome = Outcome()
    if not todo:
        return outcome  # without a generator: none needs to be there
    work, restorer = deblur_clip if options.video else deblur_photo, restorer_of(options)
    for path, results in tqdm(todo, desc="deblur", unit="file", disable=options.video or len(todo) < 2):
        try:
            if work(restorer, path, results, options):
                outcome.done += 1
            else:
                outcome.left += 1
        except (UserError, OSError, MemoryError) as error:
            say(path, error)
            outcome.full = isinstance(error, OSError) and error.errno in FULL
            if outcome.full:
                break
    return outcome


def name_left_out(left_out: list[LeftOut]) -> None:
    """Name the first files and folders that are left out, and count the others."""
    for found in left_out[:NAMED]:
        print(f"deblur: left out: {found.path}: {found.reason}", file=sys.stderr)
    if len(left_out) > NAMED:
        print(f"deblur: left out: {len(left_out) - NAMED} more", file=sys.stderr)


def command(options: argparse.Namespace) -> None:
    """Deblur the user's files; files that fail or are left out are named, and the others done."""
    suffixes = CLIPS if options.video else SUFFIXES
    jobs, left_out = find_jobs(options.inputs, options.output, suffixes, recursive=options.recursive)
    name_left_out(left_out)
    todo, there = planned(jobs, options)
    for folder in {result.parent for _, results in todo for result in results}:
        remove_partials(folder)  # which a killed run left
    outcome = deblur_all(todo, options)
    more = {"left as they are": outcome.left, "there already": there}
    others = "".join(f", {count} {what}" for what, count in more.items() if count)
    print(f"{outcome.done} of {len(jobs)} deblurred into {options.output}{others}")
    if outcome.full:
        raise UserError(f"stopped: {options.output} takes no more; make room and go on with --skip-existing")
    if outcome.done + outcome.left + there < len(jobs):
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Read the command line and deblur."""
    command(read_options(arguments))
