"""Errors that a user can cause, and how a stage reports them."""

import contextlib
import sys
from collections.abc import Iterator


class UserError(Exception):
    """Something the user can put right; its text is one line that says what, where and what to do."""


@contextlib.contextmanager
def reported(stage: str) -> Iterator[None]:
    """Turn what a user can cause into one line on standard error and exit code 1.

    Programming errors keep their traceback.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"{stage}: error: {error}")
    except OSError as error:  # full disk, no permission, vanished file: the message names the path
        sys.exit(f"{stage}: error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        sys.exit(f"{stage}: interrupted; no half result was published, run it again")
