"""The most memory that a process has had."""

import resource
import sys

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes that the system counts in: macOS single ones, Linux KiB."""


def peak_bytes() -> int:
    """The most memory that this process has had so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
