"""What a result's last bits depend on: the processor, and the versions of the libraries."""

import importlib.metadata
import platform
import re
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def versions(*names: str) -> list[str]:
    """Installed packages with their versions."""
    return [f"{name} {importlib.metadata.version(name)}" for name in names]


def processors() -> list[str]:
    """Models and vector instructions of this machine's processors."""
    return processors_in(CPU_INFO.read_text()) if CPU_INFO.exists() else [platform.processor()]


def processors_in(cpuinfo: str) -> list[str]:
    """Models and vector instructions in the words of /proc/cpuinfo; its other flags change with the kernel."""
    kinds = set()
    for line in cpuinfo.splitlines():
        name, _, _ = line.partition(":")
        if name.startswith("model"):
            kinds.add(line)
        elif name.startswith(("flags", "Features")):
            words = re.findall(r"\b(?:avx|sse|fma|f16c|amx|asimd|sve|sme|fp|bf16)\w*", line.partition(":")[2])
            kinds.add(" ".join(sorted(words)))
    return sorted(kinds)
