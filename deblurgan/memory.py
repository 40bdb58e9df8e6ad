"""How much memory is free: on the machine, and within the control groups of containers and batch systems."""

from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux shows control groups, and which of them are this process's."""


def free_memory(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> int:
    """Bytes that this process can still take.

    Parameters
    ----------
    groups, own
        The kernel's files of control groups, versions 1 and 2.

    Returns
    -------
    int
        What the machine has available, or less where a limit of a control group leaves less; file contents that the
        kernel only keeps in memory count as free.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups(groups, own)]))


def _left_in_groups(groups: Path, own: Path) -> Iterator[int]:
    """Bytes that remain below each limit of this process."""
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            root, limit, used, cached = groups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, used = groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        folder = root / name.lstrip("/")
        for group in (folder, *folder.parents):  # a group is bounded by those above it, too
            if group.is_relative_to(root) and (group / limit).is_file():
                most = (group / limit).read_text().strip()
                if most != "max":
                    counts = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
                    yield int(most) - int((group / used).read_text()) + int(counts.get(cached, 0))
