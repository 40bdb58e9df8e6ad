"""Errors that a user can cause, and how a stage reports them."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

PARENT = os.getppid()
"""The process that started this one; noted at the start, since importing the networks takes seconds."""


class UserError(Exception):
    """Something the user can put right; its text is one line that says what, where and what to do."""


@contextlib.contextmanager
def reported(stage: str) -> Iterator[None]:
    """Turn what a user can cause into one line on standard error and exit code 1.

    Programming errors keep their traceback. A stage that DVC runs ends when DVC is gone, even by force: what it went on
    to write could meet the results of a later run.
    """
    if os.environ.get("DVC_STAGE") and PARENT != 1:
        threading.Thread(target=_follow_parent, args=(stage,), daemon=True).start()
    try:
        yield
    except UserError as error:
        sys.exit(f"{stage}: error: {error}")
    except OSError as error:  # full disk, no permission, vanished file: the message names the path
        sys.exit(f"{stage}: error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        sys.exit(f"{stage}: interrupted; no half result was published, run it again")


def _follow_parent(stage: str) -> None:
    """End when the process that started this one is gone."""
    while os.getppid() == PARENT:
        time.sleep(0.5)
    with contextlib.suppress(OSError):
        os.write(2, f"{stage}: DVC is gone; no half result was published, run it again\n".encode())
    os._exit(1)
