"""The process that restores: one photo at a time, by the functions of `python -m deblurgan deblur`.

Only here are networks and decoders run. Messages go to the page through a pipe.
"""

import contextlib
import io
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deblurgan.errors import UserError, explained


@dataclass(frozen=True)
class Order:
    """A photo to restore.

    Parameters
    ----------
    source
        The photo.
    folder
        Where its result and its previews are to lie; it exists.
    arguments
        Options of `python -m deblurgan deblur`.
    """

    source: Path
    folder: Path
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """The way to restore is loaded: time counts from now."""


@dataclass(frozen=True)
class Looked:
    """How much of the search for the photo's blur is done, 0 to 1."""

    share: float


@dataclass(frozen=True)
class Tiles:
    """How many tiles of the photo are done."""

    done: int
    total: int


@dataclass(frozen=True)
class Restored:
    """A photo is done.

    Parameters
    ----------
    result, before, after
        The result as the command writes it, and two pictures that browsers show.
    size
        (width, height) of the result.
    seconds
        How long it took, without loading.
    notes
        What the command says of it.
    """

    result: Path
    before: Path
    after: Path
    size: tuple[int, int]
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A photo cannot be restored, and why."""

    reason: str


@dataclass(frozen=True)
class Cancel:
    """The page wants no more of the photo that is under way, if one is."""


class Cancelled(Exception):
    """A photo that is wanted no more."""


class Bench:
    """The way to restore that was loaded last, kept for the next photo.

    Parameters
    ----------
    pipe
        To the page.
    """

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.key: tuple[Any, ...] = ()
        self.restorer: Any = None

    def tell(self, message: Looked | Tiles) -> None:
        """Tell the page how far the photo is, and stop where the page wants no more."""
        if self.pipe.poll():  # while a photo is under way, the page sends nothing but this
            raise Cancelled
        self.pipe.send(message)

    def watched(self, tiles: list[Any]) -> Iterator[Any]:
        """Tell the page of each tile."""
        for done, tile in enumerate(tiles):
            self.tell(Tiles(done, len(tiles)))
            yield tile

    def restore(self, order: Order) -> Restored:
        """Restore one photo.

        Raises
        ------
        UserError
            As the command says it.
        """
        from deblurgan.app.previews import write_previews
        from deblurgan.restoration.command import deblur_photo, restorer_of
        from deblurgan.restoration.options import read_options
        from deblurgan.restoration.photo_files import written_name

        options = read_options([str(order.source), "--output", str(order.folder), *order.arguments])
        key = (
            options.algorithm,
            options.model,
            _state(options.model),
            options.ensemble,
            options.always,
            options.memory,
        )
        if key != self.key or self.restorer is None:
            self.restorer, self.key = None, key  # the old one's memory is free before the new one is loaded
            self.restorer = restorer_of(options)
        self.pipe.send(Ready())
        self.restorer.strength, self.restorer.watched = options.strength, self.watched
        self.restorer.told = lambda words, share: self.tell(Looked(share))
        self.restorer.said.clear()  # warnings stand beside each photo, not only the first
        begun = time.monotonic()
        result = order.folder / written_name(order.source)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            deblur_photo(self.restorer, order.source, [result], options)
        seconds = time.monotonic() - begun
        before, after, size = write_previews(order.source, result, order.folder)
        return Restored(result, before, after, size, seconds, tuple(_notes(said.getvalue().splitlines(), order.source)))


def serve(pipe: Connection) -> None:
    """Restore what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's; it closes the pipe
    tqdm.set_lock(threading.RLock())  # one between processes would outlive a worker that is killed
    bench = Bench(pipe)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order = pipe.recv()
            if isinstance(order, Order):  # a `Cancel` may come when its photo is done
                pipe.send(_answer(bench, order))


def _answer(bench: Bench, order: Order) -> Restored | Failed:
    try:
        return bench.restore(order)
    except UserError as error:
        return Failed(str(error))
    except Cancelled:
        return Failed("cancelled")
    except MemoryError:
        return Failed("out of memory: try a smaller --memory")
    except OSError as error:
        return Failed(explained(error))
    except (Exception, SystemExit) as error:
        traceback.print_exc(file=sys.stderr)
        return Failed(f"an error of the program, {type(error).__name__}: the terminal says more")


def _state(model: Path | None) -> tuple[int, ...]:
    """What changes when a model's file is made anew."""
    from deblurgan.restoration.options import MODEL

    found: tuple[int, ...] = ()
    for path in [model] if model else [MODEL, MODEL.with_suffix(".onnx")]:
        with contextlib.suppress(OSError):
            state = path.stat()
            found += state.st_mtime_ns, state.st_size, state.st_ino
    return found


def _notes(lines: Iterable[str], source: Path) -> Iterator[str]:
    """The lines of the command about a photo, without what the page says anyway, and without what it does not offer."""
    from deblurgan.restoration.command import ALWAYS

    for line in lines:
        if line.startswith("deblur: "):
            _, _, text = line.split(" ", 2)
            yield text.removeprefix(f"{source}: ").removeprefix(f"{source} ").removesuffix(ALWAYS)
