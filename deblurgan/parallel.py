"""The same work on one core, on all cores or on a cluster, by `concurrent.futures.Executor`.

The work is a function of one item that can be pickled; it may run anywhere, at any time, and twice. Results come in the
order of the items, so that nothing depends on the number of workers.
"""

import contextlib
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from tqdm import tqdm

from deblurgan.errors import UserError

WORKERS = "DEBLURGAN_WORKERS"
"""Environment variable: number of processes; all usable cores without it."""
CLUSTER = "DEBLURGAN_EXECUTOR"
"""Environment variable: `dask://host:port` of a Dask scheduler."""
AHEAD = 4
"""Items a worker that are under way or finished before their turn: memory does not grow with the number of items."""
PATIENCE = 3
"""Times in a row that workers may die without one result between."""

PATIENCE_FOR_RESULTS = 10
"""Seconds without a result after which to see whether there are workers at all."""
PATIENCE_FOR_DASK = 20
"""Seconds to wait for the scheduler, and for a first worker."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    work: Callable[[Any], Result],
    items: Sequence[Item],
    *,
    label: str,
    unit: str,
    size: Callable[[Item], int] = lambda item: 1,
    prepare: Callable[[Item], Any] = lambda item: item,
) -> Iterator[Result]:
    """Apply a function to many items, wherever the environment says, with a progress bar.

    Parameters
    ----------
    work
        A function of a module; with its argument and result it must be picklable.
    items
        What to work on.
    label, unit
        Words of the progress bar.
    size
        How many units an item is.
    prepare
        What this process makes of an item shortly before its turn, as the argument of the work: for networks, say,
        which cannot be pickled.

    Yields
    ------
    object
        The results in the order of the items.

    Raises
    ------
    UserError
        The environment names no usable executor, or workers keep dying.
    Exception
        Whatever the work raises.
    """
    with tqdm(total=sum(map(size, items)), desc=label, unit=unit) as bar:
        done = 0
        deaths = 0
        while done < len(items):
            try:
                for result in _in_order(work, items[done:], prepare):
                    bar.update(size(items[done]))
                    done, deaths = done + 1, 0
                    yield result
            except BrokenExecutor:  # killed, as a rule for want of memory: what was under way is done again
                deaths += 1
                if deaths == PATIENCE:
                    raise UserError(
                        f"{label}: a worker process was killed {PATIENCE} times around item {done + 1} of "
                        f"{len(items)}: if memory is short, set {WORKERS}=1"
                    ) from None


def _in_order(work: Callable[[Any], Result], items: Sequence[Item], prepare: Callable[[Item], Any]) -> Iterator[Result]:
    """Results in order, with a bounded number of items under way."""
    with _executor(len(items)) as (executor, workers, nobody):
        waiting: deque[Future[Result]] = deque()
        todo = map(prepare, items)
        with contextlib.suppress(StopIteration):
            first = next(todo)
            with _deaf_to_interrupts():
                waiting.append(executor.submit(work, first))  # starts the processes, which inherit the deafness
            for _ in range(AHEAD * workers - 1):
                waiting.append(executor.submit(work, next(todo)))
        while waiting:
            yield _awaited(waiting.popleft(), nobody)
            with contextlib.suppress(StopIteration):
                waiting.append(executor.submit(work, next(todo)))


def _awaited(future: Future[Result], nobody: Callable[[], str]) -> Result:
    """The result, however long it takes; while nobody is there to work on it, this is said."""
    said = ""
    while True:
        try:
            return future.result(PATIENCE_FOR_RESULTS)
        except TimeoutError:
            if future.done():
                return future.result()  # or the work's own error
            if (now := nobody()) and not said:
                tqdm.write(now, file=sys.stderr)
            said = now


@contextlib.contextmanager
def _executor(items: int) -> Iterator[tuple[Executor, int, Callable[[], str]]]:
    """The executor that the environment asks for, its number of workers, and a function that says if none is left."""
    if address := os.environ.get(CLUSTER):
        with _dask(address) as cluster:
            yield cluster
        return
    workers = min(_workers(), items)
    if workers == 1:
        yield _Here(), 1, str
        return
    _start_tracker()
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, initializer=_follow_parent)
    try:
        yield executor, workers, str
    except BaseException:
        for process in multiprocessing.active_children():  # what they still do is thrown away
            process.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _start_tracker() -> None:
    """Start the process of Python's that removes the semaphores of a killed one, so that it does so without a word."""
    sys.warnoptions.append("ignore:resource_tracker")  # it takes over
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let an interrupt be the parent's business alone: processes started meanwhile ignore it from their birth."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _workers() -> int:
    text = os.environ.get(WORKERS, "")
    if not text:
        return usable_cores()
    if not text.isdecimal() or int(text) == 0:
        raise UserError(f"{WORKERS} = {text!r} is no number of processes: set it to 1 or more, or leave it out")
    return int(text)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _follow_parent() -> None:
    """End with the parent, even when it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class _Here(Executor):
    """The process that asks."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Run the work at once."""
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextlib.contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int, Callable[[], str]]]:
    """A Dask cluster whose machines see this directory under the same path and can import this package."""
    place = address.removeprefix("dask://")
    if not re.fullmatch(r"dask://[\w.-]+:\d{1,5}", address):
        raise UserError(f"{CLUSTER} = {address!r} is no dask://host:port")
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UserError(f"{CLUSTER} is set, but Dask is not installed: pip install distributed") from None
    try:
        client = Client(f"tcp://{place}", timeout=PATIENCE_FOR_DASK, set_as_default=False)
    except (OSError, AssertionError) as error:
        raise UserError(f"no Dask scheduler answers at {place} ({type(error).__name__}): see {CLUSTER}") from None
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_FOR_DASK)
        except TimeoutError:
            raise UserError(
                f"the Dask scheduler at {place} has no workers: start some with `dask worker {place}`"
            ) from None
        workers = sum(client.nthreads().values())

        def nobody() -> str:
            with contextlib.suppress(OSError):  # a scheduler that is gone ends the work by itself
                if not client.nthreads():
                    return f"no workers left at the Dask scheduler {place}: waiting; `dask worker {place}` starts some"
            return ""

        with client.get_executor(pure=False, retries=2) as executor:
            yield executor, workers, nobody
    except KilledWorker:
        raise UserError(f"workers of the Dask cluster at {place} keep dying: do they have enough memory?") from None
    except CancelledError:
        raise UserError(f"the Dask scheduler at {place} went away") from None
    except (ModuleNotFoundError, RuntimeError) as error:
        if "No module named 'deblurgan" not in f"{error} {error.__cause__}":
            raise
        raise UserError(
            f"the Dask scheduler or a worker at {place} cannot import deblurgan: start them in the root of this "
            "repository, with PYTHONPATH=. and the same environment"
        ) from None
    finally:
        client.close()
