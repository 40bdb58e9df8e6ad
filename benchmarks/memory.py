"""Memory of a process and of all that it starts, watched from outside."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from deblurgan.errors import UserError

INTERVAL = 0.05
"""Seconds between two looks."""


@dataclass
class Peak:
    """The most memory that was seen, in bytes that no other process shares."""

    bytes: int = 0


@dataclass(frozen=True)
class Ran:
    """What a command printed, the seconds that it took and the most memory of all its processes, in bytes."""

    printed: str
    seconds: float
    peak: int


def run_watched(command: list[str], folder: Path, env: dict[str, str], quiet: bool = True) -> Ran:
    """Run a command in a folder and watch its memory; `quiet`: what it says of errors is not shown.

    Raises
    ------
    UserError
        It failed.
    """
    start, errors = time.perf_counter(), subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    with watched(process.pid) as peak:
        printed, _ = process.communicate()
        seconds = time.perf_counter() - start
    if process.returncode:
        raise UserError(f"{' '.join(command[:3])} in {folder} exited with {process.returncode}: run it to see why")
    return Ran(printed, seconds, peak.bytes)


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Watch a process and its children, grandchildren and so on, while the body runs."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL):
            with contextlib.suppress(psutil.Error):  # one of them has just ended
                top = psutil.Process(pid)
                tree = [top, *top.children(recursive=True)]
                peak.bytes = max(peak.bytes, sum(member.memory_full_info().uss for member in tree))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
