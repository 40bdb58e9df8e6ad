"""Publishing files and directories whole or not at all."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def _partial(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def new_file(path: Path | str) -> Iterator[Path]:
    """A temporary name that becomes `path` when the body ends without an error.

    Yields
    ------
    pathlib.Path
        Where to write. It is flushed to disk and renamed at the end, so `path` is either the old or
        the complete new content, whenever the process is killed.
    """
    path = Path(path)
    partial = _partial(path)
    partial.unlink(missing_ok=True)
    try:
        yield partial
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def new_directory(path: Path | str) -> Iterator[Path]:
    """An empty directory that takes the place of `path` when the body ends without an error.

    Whatever a killed run left under the temporary name is thrown away first.
    """
    path = Path(path)
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        os.sync()
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    with new_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
