"""Work for the processes of other tests; importing this must stay quick."""

import os
import signal
import time
from pathlib import Path


def slow_square(number: int) -> int:
    """Square a number, not at once."""
    time.sleep(0.02)
    return number * number


def die_once(job: tuple[int, str]) -> int:
    """Kill the own process, the first time that a marked number comes."""
    number, mark = job
    if number in (3, 11) and not Path(f"{mark}{number}").exists():
        Path(f"{mark}{number}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def always_die(_: int) -> int:
    """Kill the own process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def fail(number: int) -> int:
    """Say that the disk is full, once."""
    if number == 5:
        raise OSError(28, "No space left on device", "x.png")
    return number
