"""Work that waits for the network, several pieces at once."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """Do something with each item in threads; nothing more is begun when the iterator is closed.

    Parameters
    ----------
    work
        Takes an item.
    items
        In the order in which they are begun.
    threads
        How many. They are daemons: a server that hangs keeps nobody from leaving.

    Yields
    ------
    item, future
        In the order of the items; the result may not be there yet.
    """
    waiting: list[tuple[Item, Future[Result]]] = [(item, Future()) for item in items]
    todo = iter(waiting)
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                pair = next(todo, None)
            if pair is None:
                return
            item, future = pair
            try:
                future.set_result(work(item))
            except BaseException as error:
                future.set_exception(error)

    for _ in range(min(threads, len(waiting))):
        threading.Thread(target=run, daemon=True).start()
    try:
        yield from list(waiting)
    finally:
        with lock:
            todo = iter(())
