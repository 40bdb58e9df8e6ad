"""Photos that were handed in together: restored one after another, with what there is to show meanwhile."""

import shutil
import threading
import time
import zipfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deblurgan.app.process import Process
from deblurgan.app.worker import Failed, Looked, Order, Ready, Restored, Tiles
from deblurgan.files import link_or_copy, new_file

LOOK = 0.5
"""What the search for a photo's blur counts for, of all work on the photo: large photos need less, small ones more."""
ZIP = "deblurred.zip"
DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip archive can hold: the same photos give the same archive."""


@dataclass
class Item:
    """One photo of a batch: what became of it, None while it waits."""

    name: str
    source: Path
    weight: int
    outcome: Restored | Failed | None = None


class Batch:
    """Photos that are restored one after another.

    Parameters
    ----------
    uploads
        Their files, which the browser may take back once the batch is made.
    folder
        Where results go; it exists and belongs to this batch alone.
    arguments
        Options of `python -m deblurgan deblur`.
    cancelled
        Set by whoever wants no more.

    Raises
    ------
    OSError
        A file is gone, or the disk is full.
    """

    def __init__(
        self, uploads: Sequence[Path], folder: Path, arguments: tuple[str, ...], cancelled: threading.Event
    ) -> None:
        self.folder, self.arguments, self.cancelled = folder, arguments, cancelled
        self.items = [self._item(number, path) for number, path in enumerate(uploads)]
        self.current: Item | None = None
        self.loading = False
        self.part = 0.0  # of the current photo
        self.looked = 0.0  # what the search for its blur is of its work
        self.looking = False
        self.spent = 0.0  # seconds, without loading
        self.since: float | None = None

    def _item(self, number: int, upload: Path) -> Item:
        """Take a photo into a folder of its own: photos of one name do not meet."""
        source = self.folder / f"{number:04d}" / "source" / upload.name
        source.parent.mkdir(parents=True)
        link_or_copy(upload, source)
        return Item(upload.name, source, max(1, source.stat().st_size))

    def run(self, process: Process) -> Iterator[Item | None]:
        """Restore the photos; yields a photo that has just come to its end, or None where something else changed."""
        for item in self.items:
            if self.cancelled.is_set():
                break
            self.current, self.loading, self.looking = item, True, False
            self.part = self.looked = 0.0
            yield None
            item.outcome = yield from self._restored(item, process)
            if self.cancelled.is_set() and isinstance(item.outcome, Failed):
                item.outcome = None
                break
            yield item
        self.current = None

    def _restored(self, item: Item, process: Process) -> Generator[None, None, Restored | Failed]:
        order = Order(item.source, item.source.parents[1], self.arguments)
        outcome: Restored | Failed = Failed("not restored")
        try:
            for message in process.restore(order, self.cancelled):
                if isinstance(message, Restored | Failed):
                    outcome = message
                    continue
                if isinstance(message, Ready):
                    self.since, self.loading = time.monotonic(), False
                elif isinstance(message, Looked):
                    self.looking, self.looked, self.part = True, LOOK, LOOK * message.share
                elif isinstance(message, Tiles):
                    self.looking = False
                    self.part = self.looked + (1 - self.looked) * message.done / message.total
                yield None
        finally:
            item.source.unlink(missing_ok=True)
            if self.since is not None:
                self.spent += time.monotonic() - self.since
                self.since = None
        return outcome

    @property
    def restored(self) -> list[tuple[Item, Restored]]:
        """The photos that have results."""
        return [(item, item.outcome) for item in self.items if isinstance(item.outcome, Restored)]

    @property
    def finished(self) -> int:
        """How many photos came to their end."""
        return sum(item.outcome is not None for item in self.items)

    @property
    def fraction(self) -> float:
        """How much of the work is done, 0 to 1, by the sizes of the files."""
        total = sum(item.weight for item in self.items)
        done = sum(item.weight for item in self.items if item.outcome is not None)
        current = self.current.weight * self.part if self.current and self.current.outcome is None else 0
        return (done + current) / total

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take, None while nothing is known."""
        now = time.monotonic() - self.since if self.since is not None else 0.0
        spent, fraction = self.spent + now, self.fraction
        return spent * (1 - fraction) / fraction if fraction > 0 and spent > 0 else None

    def write_zip(self) -> Path | None:
        """Put all results into one archive, as they are; None where there are fewer than two."""
        results = [outcome.result for _, outcome in self.restored]
        if len(results) < 2:
            return None
        path = self.folder / ZIP
        with new_file(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, result in zip(distinct([result.name for result in results]), results, strict=True):
                member = archive.open(zipfile.ZipInfo(name, DATE), "w", force_zip64=True)
                with member, open(result, "rb") as stream:
                    shutil.copyfileobj(stream, member)
        return path


def distinct(names: Sequence[str]) -> list[str]:
    """Tell equal names apart by a number.

    Examples
    --------
    >>> distinct(["a.jpg", "b.png", "a.jpg"])
    ['a.jpg', 'b.png', 'a (2).jpg']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        path, new, number = Path(name), name, 2
        while new in taken:
            new, number = f"{path.stem} ({number}){path.suffix}", number + 1
        taken.add(new)
        found.append(new)
    return found
