"""Memory of a process and of all that it starts, watched from outside."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

INTERVAL = 0.05
"""Seconds between two looks."""


@dataclass
class Peak:
    """The most memory that was seen, in bytes that no other process shares."""

    bytes: int = 0


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
