"""One message, handled: every object that it names is processed, and a line of log says what became of it."""

import json
import sys
import time
from typing import Any

from deblurgan.events.messages import BadMessage, arrivals
from deblurgan.events.process import process
from deblurgan.events.settings import Settings


class Failed(Exception):
    """A message that has to come again; what is wrong has been logged."""


def handle(body: str, settings: Settings) -> list[str]:
    """Process all objects of a message.

    Parameters
    ----------
    body
        See `messages.arrivals`.
    settings
        See `process.process`.

    Returns
    -------
    list of str
        The kind of outcome of each.

    Raises
    ------
    Failed
        The message says nothing about objects, or one of them could not be processed; the others were.
    """
    kinds: list[str] = []
    failures = 0
    try:
        found = arrivals(body)
    except BadMessage as error:
        log("failed", error=str(error))
        raise Failed from error
    for arrival in found:
        started = time.monotonic()
        where: dict[str, Any] = {"bucket": arrival.bucket, "key": arrival.key}
        try:
            outcome = process(arrival.bucket, arrival.key, settings)
        except Exception as error:  # whatever it is: the queue counts how often, and then lays the message aside
            failures += 1
            log("failed", **where, error=in_words(error))
            continue
        kinds.append(outcome.kind)
        label, _, text = outcome.said.partition(": ")
        more = {
            "reason": outcome.reason,
            label: text,
            "deblurred": outcome.deblurred,
            "etag": outcome.etag,
            "bytes": outcome.size,
        }
        said = {name: value for name, value in more.items() if value}
        log(outcome.kind, **where, **said, seconds=round(time.monotonic() - started, 3))
    if failures:
        raise Failed
    return kinds


def log(outcome: str, **values: Any) -> None:
    """Write one line of JSON, in one go: other processes write theirs to the same place."""
    line = json.dumps({"outcome": outcome, **values}, ensure_ascii=False) + "\n"
    coding = sys.stdout.encoding or "utf-8"  # which may lack letters of a key
    sys.stdout.write(line.encode(coding, "backslashreplace").decode(coding))
    sys.stdout.flush()


def in_words(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]
