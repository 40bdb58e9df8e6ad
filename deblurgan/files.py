"""Writing files and directories whole or not at all; links, checksums, tables, and the files of a folder."""

import contextlib
import csv
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deblurgan.errors import UserError

CACHE = "DEBLURGAN_CACHE"
"""Environment variable: another cache directory than ~/.cache/deblurgan."""
NAME_MAX = 255
"""Bytes of a file's name, on all usual file systems."""
PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial")
"""Names of files that are being written."""


@contextlib.contextmanager
def new_file(path: Path | str) -> Iterator[Path]:
    """A temporary name that becomes `path` when the body ends without an error.

    Yields
    ------
    pathlib.Path
        Where to write. It is flushed to disk and renamed at the end, so `path` is either the old or
        the complete new content, whenever the process is killed.

    Raises
    ------
    OSError
        It names `path`, also where the system's own error names nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    end = f".{uuid.uuid4().hex[:8]}.partial"  # others may be writing it, too
    partial = path.with_name(f".{shortened(path.name, NAME_MAX - len(end) - 1)}{end}")
    try:
        with open(partial, "wb") as held:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(held, fcntl.LOCK_EX)  # so that `remove_partials` of others leaves it alone
            yield partial
            with open(partial, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(partial, path)
    except OSError as error:
        if error.errno and error.filename in (None, str(partial)):  # a full disk, for one, names no file
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed runs left of their files in a folder; what living ones are writing stays."""
    for path in folder.glob(".*.partial"):
        if PARTIAL.fullmatch(path.name) and path.is_file():
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def shortened(name: str, length: int) -> str:
    """Cut a name to so many bytes, if it has more."""
    data = os.fsencode(name)
    return name if len(data) <= length else data[:length].decode(errors="ignore")


def fitting(name: str, length: int) -> str:
    """Keep a name that has at most so many bytes; else its beginning and a hash of the whole, which no other name has.

    Examples
    --------
    >>> fitting("walk-1", 20), fitting("a-long-walk-at-night-1", 20)
    ('walk-1', 'a-long-walk-a4bc7b9a')
    """
    data = os.fsencode(name)
    end = f"-{hashlib.sha256(data).hexdigest()[:8]}"
    return name if len(data) <= length else shortened(name, length - len(end)) + end


@contextlib.contextmanager
def new_directory(path: Path | str) -> Iterator[Path]:
    """An empty directory that takes the place of `path` when the body ends without an error.

    Whatever killed runs left under temporary names is thrown away first. A lock beside `path` keeps others from making
    it meanwhile; it is gone afterwards.

    Raises
    ------
    UserError
        Another process is making it, or somebody has deleted the new directory before it was complete.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, wait=False))
        except BlockingIOError:
            raise UserError(f"{path} is being made by {_holder(lock)}: wait for it, or end it") from None
        stack.callback(lock.unlink, missing_ok=True)
        for left in path.parent.glob(f".{path.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        # a new name each time: a worker of a killed run may still be writing under the old one
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        partial.mkdir()
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        made = os.open(partial, os.O_RDONLY)  # while it is open, no other directory can have its inode
        stack.callback(os.close, made)
        yield partial
        os.sync()
        if not _is_open(made, partial):
            raise UserError(f"{partial} was deleted while it was being filled: {path} is as it was; run it again")
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)


def _holder(lock: Path) -> str:
    """Who has a lock, as far as the file says."""
    with contextlib.suppress(FileNotFoundError):
        if number := lock.read_text():
            return f"process {number}"
    return "another process"


def _is_open(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to the very file or directory that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold this file's lock for the body, which no other process or thread then holds.

    The file holds the process id of the last one that had the lock; who has it may delete the file.

    Raises
    ------
    BlockingIOError
        Another process holds it, and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_open(stream.fileno(), path):  # not deleted by the one that had it
                stream.truncate(0)
                stream.write(str(os.getpid()))
                stream.flush()
                yield
                return


def require(*paths: Path) -> None:
    """Stop where an input of a stage is missing: what would come out of it is no result.

    Raises
    ------
    UserError
        The first one that is not there.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is missing: make it with `dvc repro`, or fetch it with `dvc pull`")


def cache_directory() -> Path:
    """Where downloads, and trainings that are under way, are kept from run to run; it exists.

    Raises
    ------
    UserError
        It cannot be made or written to.
    """
    named = os.environ.get(CACHE) or "~/.cache/deblurgan"
    path = home_expanded(named)
    reason = "no home directory is known" if path.parts[:1] == ("~",) else ""
    try:
        if not reason:
            path.mkdir(parents=True, exist_ok=True)
            reason = "" if os.access(path, os.W_OK) else "no permission to write"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UserError(f"the cache {path} cannot be used ({reason}): set {CACHE} to a directory that can be written")
    return path.resolve()


def home_expanded(path: Path | str) -> Path:
    """Replace a leading `~`, where there is such a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where the file system has no hard links.

    Both are read from then on, never written in place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a full disk say for which file there was no room: writing to an open file does not."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    with new_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def files_below(root: Path | str) -> list[Path]:
    """All visible files below a directory, in an order that depends on their names alone; links are followed.

    Raises
    ------
    UserError
        A link leads nowhere or in a circle, or a name is not UTF-8.
    OSError
        A folder cannot be read.
    """
    root = Path(root)
    top = os.path.realpath(root)
    found: list[Path] = []
    seen: dict[str, str] = {}
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:  # which of both comes first is the file system's choice
            link = next(one for one in (folder, seen[real]) if str(Path(top, os.path.relpath(one, root))) != real)
            raise UserError(f"{link} leads to a folder that is there already: remove the link")
        seen[real] = folder
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    for path in found:
        if not path.is_file():
            raise UserError(f"{path} is no file that can be read: remove it, or mend the link")
        if str(path).encode(errors="replace") != os.fsencode(path):
            raise UserError(f"the name of {os.fsencode(path)!r} is not UTF-8: rename it")
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Write a table, whole or not at all; the first row is its header."""
    with new_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def as_rows(kind: type, records: Iterable[Any]) -> Iterator[list[Any]]:
    """Rows of dataclass instances, the names of their fields first."""
    names = [field.name for field in dataclasses.fields(kind)]
    yield names
    for record in records:
        yield [getattr(record, name) for name in names]
