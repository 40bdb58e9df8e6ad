"""Several workers side by side: each has a process, so that a photo that kills one leaves the others alone."""

import contextlib
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from deblurgan.errors import UserError
from deblurgan.events.handling import log
from deblurgan.events.worker import Work, work

PATIENCE = 3
"""Times in a row that workers may end before they have begun."""


@dataclass
class _Worker:
    process: SpawnProcess
    reports: Connection
    ready: bool = False


class Supervisor:
    """Keeps a number of workers at work.

    Parameters
    ----------
    what
        What they do.
    number
        How many there are.
    """

    def __init__(self, what: Work, number: int) -> None:
        self.what, self.number = what, number
        self.counts: Counter[str] = Counter()
        self.stopping = False
        self._workers: list[_Worker] = []
        self._false_starts = 0

    def run(self) -> Counter[str]:
        """Work until the queue is empty, if that was asked for, or until SIGTERM or SIGINT.

        The first signal lets each worker finish its message; the second kills them, and their messages come again.

        Returns
        -------
        collections.Counter
            Objects by their kind of outcome, and messages that failed.

        Raises
        ------
        UserError
            Workers end before they have begun.
        """
        with self._signals():
            try:
                for _ in range(self.number):
                    self._start()
                while self._workers:
                    self._look()
            finally:
                for worker in self._workers:  # after an error
                    worker.process.kill()
        return self.counts

    def stop(self, *_: object) -> None:
        """Let all workers end: what a signal does."""
        for worker in self._workers:
            (worker.process.kill if self.stopping else worker.process.terminate)()
        self.stopping = True

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        reports, end = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(self.what, end))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which it inherits: Ctrl-C is the parent's business
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        end.close()
        self._workers.append(_Worker(process, reports))
        if self.stopping:  # the signal came while it was started
            process.terminate()

    def _look(self) -> None:
        """Wait for news of the workers, and start another one for each that was killed."""
        news = wait([*(w.reports for w in self._workers), *(w.process.sentinel for w in self._workers)])
        for worker in list(self._workers):
            self._read(worker)
            if worker.process.sentinel in news:
                worker.process.join()
                self._read(worker)
                worker.reports.close()
                self._workers.remove(worker)
                if worker.process.exitcode and not self.stopping:
                    self._replace(worker)

    def _read(self, worker: _Worker) -> None:
        with contextlib.suppress(EOFError):
            while worker.reports.poll():
                kind = worker.reports.recv()
                if kind == "ready":
                    worker.ready, self._false_starts = True, 0
                else:
                    self.counts[kind] += 1

    def _replace(self, worker: _Worker) -> None:
        log("worker ended", pid=worker.process.pid, exitcode=worker.process.exitcode)
        self.counts["worker ended"] += 1
        self._false_starts += not worker.ready
        if self._false_starts == PATIENCE:
            raise UserError(f"workers ended {PATIENCE} times before they had begun: see what they say above")
        self._start()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, action in before.items():
                signal.signal(number, action)
