"""Where uploads, results and previews lie: a temporary folder that is gone when the page ends, at the latest."""

import contextlib
import itertools
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from deblurgan.files import locked

PREFIX = "deblurgan-app-"
LOCK = ".lock"
EXAMPLES = "examples"
KEPT = 3600.0
"""Seconds after which files that nobody has touched are deleted, also while the page is open."""
HALF = 300.0
"""The same for uploads that are not complete, and of which nothing comes any more."""
EVERY = 60.0
"""Seconds between two looks."""


class Folders:
    """Temporary files of one page.

    Parameters
    ----------
    root
        The folder; everything in it but `EXAMPLES`, and what belongs to a session of the browser, is deleted when it
        has not been touched for `kept` seconds.
    kept
        Seconds.
    """

    def __init__(self, root: Path, kept: float = KEPT) -> None:
        self.root, self.kept = root, kept
        self.lock = threading.Lock()
        self.owned: dict[str, list[Path]] = {}
        self.held: dict[str, set[Path]] = {}
        self.coming: dict[object, tuple[float, float]] = {}  # of each upload: when it began, when its last bytes came

    def new(self, session: str) -> Path:
        """Make a folder for what belongs to a session of the browser; its name cannot be guessed."""
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.root))
        with self.lock:
            self.owned.setdefault(session, []).append(folder)
        return folder

    def hold(self, session: str, paths: Iterable[Path]) -> None:
        """Keep files and folders that a session waits for, however long; what it had kept before is released."""
        with self.lock:
            self.held[session] = set(paths)

    def release(self, session: str) -> None:
        """Let what a session waited for grow old."""
        with self.lock:
            self.held.pop(session, None)

    @contextlib.contextmanager
    def upload(self) -> Iterator[Callable[[], None]]:
        """Keep what an upload brings, during the body; call what it gives whenever bytes have come."""
        key, began = object(), time.time() - 1  # the clocks of file systems are coarse

        def came() -> None:
            with self.lock:
                self.coming[key] = (began, time.time())

        came()
        try:
            yield came
        finally:
            with self.lock:
                del self.coming[key]

    def drop(self, session: str) -> None:
        """Delete what belongs to a session."""
        with self.lock:
            folders = self.owned.pop(session, [])
            self.held.pop(session, None)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes of all files, of which several names of one count once."""
        found = {(one.st_dev, one.st_ino): one.st_size for path in self.root.rglob("*") if (one := _stat(path))}
        return sum(found.values())

    def sweep(self) -> None:
        """Delete what has not been touched for long."""
        now = time.time()
        half = min(HALF, self.kept)
        with self.lock:
            paths = itertools.chain(*self.held.values(), *self.owned.values())
            held = {folder for path in paths for folder in (path, *path.parents)}
            begun = min((began for began, came in self.coming.values() if came > now - half), default=now)
        for entry in self.root.iterdir():
            if entry.name in (LOCK, EXAMPLES) or entry in held:
                continue
            newest = max(_touched(path) for path in (entry, *entry.rglob("*")))
            if not entry.is_dir():  # of an upload that is coming, or that nobody has finished
                if newest < min(begun, now - half):
                    entry.unlink(missing_ok=True)
            elif newest < min(begun, now - self.kept):
                shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def temporary(kept: float = KEPT) -> Iterator[Folders]:
    """A temporary folder for the body, swept meanwhile; what pages left that were killed is deleted first."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_left(left)
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    ended = threading.Event()
    folders = Folders(root, kept)

    def sweep() -> None:
        while not ended.wait(min(EVERY, kept)):
            with contextlib.suppress(OSError):  # what others delete meanwhile
                folders.sweep()

    with locked(root / LOCK, wait=False):
        threading.Thread(target=sweep, daemon=True).start()
        try:
            yield folders
        finally:
            ended.set()
            shutil.rmtree(root, ignore_errors=True)


def _remove_left(folder: Path) -> None:
    """Delete a page's folder, if it is this user's and the page is gone."""
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and found.st_mtime < time.time() - EVERY:
        with locked(folder / LOCK, wait=False):  # else BlockingIOError: the page lives
            shutil.rmtree(folder, ignore_errors=True)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _touched(path: Path) -> float:
    found = _stat(path)
    return found.st_mtime if found else 0.0
