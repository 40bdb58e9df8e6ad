"""One process that takes messages off the queue, one at a time, until it is asked to end."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deblurgan import s3
from deblurgan.events.handling import Failed, handle, in_words, log
from deblurgan.events.settings import Settings, settings_of
from deblurgan.params import load

WAIT = 5
"""Seconds that a question for messages waits for one; to end takes as long. `docker stop` allows 10; and two idle
processes ask a million times in a month, which costs 0.40 USD."""
WAIT_ONCE = 1
"""The same where none has to come: long enough for SQS to ask all its servers."""
LONGEST_PAUSE = 900
"""Seconds after which a message that has failed comes again, at most."""
LIMIT = 900
"""Seconds after which an object that is not done is given up, with the process: as on AWS Lambda."""
GIVE_UP = 5
"""Times in a row that the queue may not answer a run with `once`."""


@dataclass(frozen=True)
class Work:
    """What a process is told.

    Parameters
    ----------
    queue
        Address of the queue.
    resized, deblurred, model, params
        See `settings.settings_of`; the paths of the exported generator and of params.yaml.
    visibility
        Seconds for which others do not see a message that is worked on. It is renewed meanwhile; so long it takes until
        the message of a killed process comes again.
    once
        Whether to end when the queue is empty.
    threads
        How many of them deblur one photo.
    """

    queue: str
    resized: str
    deblurred: str | None
    model: Path | None
    params: Path
    visibility: int
    once: bool
    threads: int

    def settings(self) -> Settings:
        """Settings of the processing."""
        return settings_of(self.resized, self.deblurred, self.model, load(self.params), self.threads)


def work(what: Work, reports: Connection) -> None:
    """Take messages until there are none or SIGTERM comes; the message under way is finished.

    Parameters
    ----------
    what
        What to do.
    reports
        Gets `ready` when it starts, and then the kind of outcome of each object, or `failed`.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent passes it on
    threading.Thread(target=_follow_parent, daemon=True).start()
    settings, queue = what.settings(), s3.client("sqs")
    reports.send("ready")
    silences = 0
    while not stop.is_set():
        try:
            message = _next(queue, what)
            silences = 0
        except (BotoCoreError, ClientError) as error:
            silences += 1
            log("no answer", queue=what.queue, error=in_words(error))
            if what.once and silences == GIVE_UP:
                reports.send("failed")
                return
            stop.wait(min(2**silences, 60))
            continue
        if message:
            for kind in _handle(message, settings, queue, what):
                reports.send(kind)
        elif what.once:
            return


def _next(queue: Any, what: Work) -> dict[str, Any] | None:
    """The next message, if there is one."""
    found = queue.receive_message(
        QueueUrl=what.queue,
        MaxNumberOfMessages=1,
        WaitTimeSeconds=WAIT_ONCE if what.once else WAIT,
        VisibilityTimeout=what.visibility,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )
    return next(iter(found.get("Messages", ())), None)


def _handle(message: dict[str, Any], settings: Settings, queue: Any, what: Work) -> list[str]:
    """Handle a message: what is done is deleted, and what failed is put off, longer each time."""
    handle_of = {"QueueUrl": what.queue, "ReceiptHandle": message["ReceiptHandle"]}
    try:
        with _kept(queue, handle_of, what.visibility):
            kinds = handle(message["Body"], settings)
    except Failed:
        times = int(message["Attributes"]["ApproximateReceiveCount"])
        pause = min(what.visibility * 2 ** (times - 1), max(LONGEST_PAUSE, what.visibility))
        with contextlib.suppress(BotoCoreError, ClientError):  # then it comes again sooner
            queue.change_message_visibility(**handle_of, VisibilityTimeout=pause)
        return ["failed"]
    try:
        queue.delete_message(**handle_of)
    except (BotoCoreError, ClientError) as error:  # it comes again, and nothing changes
        log("not deleted", queue=what.queue, error=in_words(error))
    return kinds


@contextlib.contextmanager
def _kept(queue: Any, handle_of: dict[str, str], visibility: int) -> Iterator[None]:
    """Keep a message from the others for the body; after `LIMIT` seconds the process ends, and the message with it."""
    done = threading.Event()

    def renew() -> None:
        end = time.monotonic() + LIMIT
        while not done.wait(min(visibility / 3, max(end - time.monotonic(), 0))):
            if time.monotonic() >= end:
                log("failed", error=f"not done after {LIMIT} s: this process ends, and the message comes again")
                os._exit(1)
            with contextlib.suppress(BotoCoreError, ClientError):
                queue.change_message_visibility(**handle_of, VisibilityTimeout=visibility)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()  # or it could bring a message back that is put off


def _follow_parent() -> None:
    """End with the parent, even when it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
