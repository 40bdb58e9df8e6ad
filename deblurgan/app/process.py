"""The worker as the page sees it: started when it is needed, started anew when it died, ended when it is idle."""

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from deblurgan.app.worker import Cancel, Failed, Looked, Order, Ready, Restored, Tiles, serve

IDLE = 600.0
"""Seconds without a photo after which the worker ends, and gives its memory back."""
GRACE = 3.0
"""Seconds that a worker has to reach the end of a tile before a cancelled photo ends it."""
POLL = 0.25
"""Seconds between two signs of life while nothing happens."""

Message = Ready | Looked | Tiles | Restored | Failed


class Process:
    """One worker; one photo at a time.

    Parameters
    ----------
    idle
        Seconds after which it ends.
    """

    def __init__(self, idle: float = IDLE) -> None:
        self.idle = idle
        self.context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self.busy = threading.Lock()
        self.child: multiprocessing.process.BaseProcess | None = None
        self.pipe: Connection | None = None
        self.alarm: threading.Timer | None = None

    def restore(self, order: Order, cancelled: threading.Event) -> Iterator[Message | None]:
        """Restore one photo; the last message is `Restored` or `Failed`, None a sign of life.

        A worker that dies, of a damaged photo or of too little memory, is a `Failed`, and the next photo gets another.
        """
        with self.busy:
            if self.alarm:
                self.alarm.cancel()
            try:
                yield from self._restored(order, cancelled)
            finally:
                self.alarm = threading.Timer(self.idle, self._end_idle)
                self.alarm.daemon = True
                self.alarm.start()

    def _restored(self, order: Order, cancelled: threading.Event) -> Iterator[Message | None]:
        pipe = self._started()
        last = None
        asked = 0.0
        try:
            pipe.send(order)
            while not isinstance(last, Restored | Failed):
                if cancelled.is_set() and not asked:  # however fast messages come
                    asked = time.monotonic()
                    pipe.send(Cancel())
                if pipe.poll(POLL):
                    last = pipe.recv()
                    yield last
                elif asked and time.monotonic() - asked > GRACE:
                    self.end()
                    last = Failed("cancelled")
                    yield last
                else:
                    yield None
        except (EOFError, OSError):
            why = self._why()
            self.end()
            yield Failed(why)
        finally:
            if not isinstance(last, Restored | Failed):  # nobody listens any more
                self.end()

    def _started(self) -> Connection:
        """The pipe to a living worker."""
        if self.child is None or self.pipe is None or not self.child.is_alive():
            self.end()
            self.pipe, theirs = self.context.Pipe()
            self.child = self.context.Process(target=serve, args=(theirs,), daemon=True)
            self.child.start()
            theirs.close()
        return self.pipe

    def _why(self) -> str:
        """What ended a worker."""
        code = None
        if self.child:
            self.child.join(GRACE)
            code = self.child.exitcode
        if code == -signal.SIGKILL:
            return "the process that restores was killed: too little memory, perhaps; try a smaller --memory"
        name = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return f"the process that restores ended with {name}"

    def _end_idle(self) -> None:
        if self.busy.acquire(blocking=False):
            try:
                self.end()
            finally:
                self.busy.release()

    def end(self) -> None:
        """End the worker, whatever it does."""
        child, pipe, self.child, self.pipe = self.child, self.pipe, None, None
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
        if child:
            child.kill()
            child.join(GRACE)
