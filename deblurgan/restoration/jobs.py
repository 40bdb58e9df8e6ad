"""Which files are to be deblurred, where their results go, and what is left out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deblurgan.errors import UserError
from deblurgan.files import NAME_MAX, shortened

COMPARISON = "_before_after"
"""End of the name of a comparison: a photo before and after, side by side."""

KERNEL = "_kernel.png"
"""End of the name of a picture of the blur that was found in a photo."""


@dataclass(frozen=True)
class DeblurJob:
    """A file to deblur, and where its result goes under the file's own name."""

    source: Path
    place: Path


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not deblurred, and why."""

    path: Path
    reason: str


def find_jobs(
    inputs: Iterable[Path], output: Path, suffixes: tuple[str, ...], *, recursive: bool
) -> tuple[list[DeblurJob], list[LeftOut]]:
    """Find the files of folders, and the files that are named themselves.

    Parameters
    ----------
    inputs
        Files, whatever their suffix, and folders. Hidden files are passed over: macOS keeps notes on photos in
        `._photo.jpg`; and so is `output` itself: what an earlier run made is not to be deblurred again.
    output
        Results go below it as the files lie below the folder that was named.
    suffixes
        Of the files that are taken from folders, in small letters.
    recursive
        Whether the folders of folders are looked into; links to folders never are: they may lead in a circle.

    Raises
    ------
    UserError
        An input is missing, neither file nor folder, or a folder without a file to deblur; or `output` is a file.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: --output takes a folder")
    jobs: list[DeblurJob] = []
    left_out: list[LeftOut] = []
    for named in inputs:
        if named.is_dir():
            found = list(_below(sorted(named.iterdir()), output.resolve(), suffixes, recursive=recursive))
            files = [path for path in found if isinstance(path, Path)]
            if not files:
                more = "" if recursive else "; --recursive looks into its folders, too"
                raise UserError(f"{named}: no file {', '.join(suffixes)} in this folder{more}")
            jobs += [DeblurJob(path, output / path.relative_to(named)) for path in files]
            left_out += [path for path in found if isinstance(path, LeftOut)]
        elif named.is_file():
            jobs.append(DeblurJob(named, output / named.name))
        elif named.exists():
            raise UserError(f"{named} is neither a file nor a folder, but a pipe or a device: save it as a file first")
        else:
            raise UserError(f"{named}: no such file or folder")
    return jobs, left_out


def _below(paths: list[Path], results: Path, suffixes: tuple[str, ...], *, recursive: bool) -> Iterator[Path | LeftOut]:
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.is_symlink():
                yield LeftOut(path, "a link to a folder; name it to look into it")
            elif path.resolve() == results:
                continue
            elif not recursive:
                yield LeftOut(path, "a folder; --recursive looks into it")
            else:
                try:
                    entries = sorted(path.iterdir())
                except OSError as error:
                    yield LeftOut(path, error.strerror or str(error))
                else:
                    yield from _below(entries, results, suffixes, recursive=True)
        elif not path.is_file():
            yield LeftOut(path, "a link that leads nowhere" if path.is_symlink() else "a pipe, a socket or a device")
        elif path.suffix.lower() not in suffixes:
            yield LeftOut(path, "of a kind that is not read")
        else:
            yield path


def comparison_of(result: Path) -> Path:
    """Name the photo before and after, side by side, beside its result."""
    return _beside(result, f"{COMPARISON}{result.suffix}")


def kernel_of(result: Path) -> Path:
    """Name the picture of the blur that was found in a photo beside its result."""
    return _beside(result, KERNEL)


def _beside(result: Path, end: str) -> Path:
    return result.with_name(f"{shortened(result.stem, NAME_MAX - len(end.encode()))}{end}")


def refuse(results: Iterable[Path], taken: set[Path], originals: set[Path], *, overwrite: bool) -> None:
    """Refuse results that another file of this run has, that are originals, or that exist and are not to be replaced.

    Raises
    ------
    UserError
        It says which, and what to do.
    """
    for result in results:
        if result in taken:
            raise UserError(f"another file is written as {result}: give them an output folder each")
        if overwrite and result.resolve() in originals:
            raise UserError(f"{result} is one of the originals, which are never replaced: give another --output")
        if result.is_dir():
            raise UserError(f"{result} is a folder, where the result was to be: give another --output")
        if result.exists() and not overwrite:
            raise UserError(f"{result} exists; --overwrite replaces it, --skip-existing leaves the file out")
