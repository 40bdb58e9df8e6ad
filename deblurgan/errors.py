"""Errors that a user can cause, and how a stage reports them."""

import contextlib
import errno
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, and of a user's quota that is used up."""

STAGE = "DVC_STAGE"
"""Environment variable: DVC sets it, to the name of the stage that it runs."""


def _parents_up_to_dvc() -> list[int]:
    """The processes from the one that started this one up to DVC, where DVC runs it; otherwise none.

    A shell can lie between: dash, which is Debian's /bin/sh, does not become the command that it is given.
    """
    if not os.environ.get(STAGE):
        return []
    try:
        import psutil
    except ModuleNotFoundError:  # a Python without the project's packages, which ends soon
        return []
    found = [os.getppid()]
    with contextlib.suppress(psutil.Error):  # another user's, or gone already
        while STAGE in (process := psutil.Process(found[-1])).environ():
            found.append(process.ppid())
    return found


PARENTS = _parents_up_to_dvc()
"""Noted at the start, since importing the networks takes seconds."""


class UserError(Exception):
    """Something the user can put right; its text is one line that says what, where and what to do."""


@contextlib.contextmanager
def reported(stage: str) -> Iterator[None]:
    """Turn what a user can cause into one line on standard error and exit code 1.

    Programming errors keep their traceback. A stage that DVC runs ends when DVC is gone, even by force: what it went on
    to write could meet the results of a later run.
    """
    if PARENTS and PARENTS[0] != 1:
        threading.Thread(target=_follow_parents, args=(stage,), daemon=True).start()
    try:
        yield
    except UserError as error:
        sys.exit(f"{stage}: error: {error}")
    except OSError as error:
        sys.exit(f"{stage}: error: {explained(error)}")
    except MemoryError:
        sys.exit(f"{stage}: error: the memory is short: stop other programs, or set DEBLURGAN_WORKERS=1; run it again")
    except KeyboardInterrupt:
        sys.exit(f"{stage}: interrupted; no half result was published, run it again")


def explained(error: OSError) -> str:
    """Say in one line what the system refused, and where: full disk, no permission, vanished file."""
    text = error.strerror or str(error)
    if error.errno in NO_ROOM:  # a write that fails names no file: stages write below the current directory
        return f"{text}: {error.filename or Path.cwd()}: free some space there (df -h shows it), run it again"
    return f"{text}: {error.filename}" if error.filename else text


OURS = ("deblurgan", "stages")
"""Packages that no environment holds. Where a module within a package is missing, the environment is not the reason."""


def keep_starts_short() -> None:
    """Make Ctrl-C and a missing package one line from now on: `reported` listens after the libraries are imported."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted while starting; nothing was changed, run it again", file=sys.stderr)
        elif isinstance(error, ModuleNotFoundError) and error.name not in OURS and "." not in (error.name or "."):
            print(
                f"error: {sys.executable} has no package {error.name}: activate the environment first, "
                "`. .venv/bin/activate` (`make install` makes it)",
                file=sys.stderr,
            )
        else:
            usual(kind, error, trace)

    sys.excepthook = hook


def _follow_parents(stage: str) -> None:
    """End when one of the processes up to DVC is gone: the one below it has another parent then."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        while os.getppid() == PARENTS[0] and all(
            psutil.Process(below).ppid() == above for below, above in itertools.pairwise(PARENTS)
        ):
            time.sleep(0.5)
    with contextlib.suppress(OSError):
        os.write(2, f"\n{stage}: DVC is gone; no half result was published, run it again\n".encode())
    os._exit(1)
