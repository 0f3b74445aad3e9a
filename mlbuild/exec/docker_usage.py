"""Usage: what a container used, counted by control groups of ours above the container's own.

The engine removes a container's groups when it ends, and with them what they counted. Ours, named
as its parent, stay until we have read them. Where none can be made, nothing is known.
"""

import os
from contextlib import suppress
from dataclasses import dataclass

from mlbuild.exec import cgroup

_ROOT = "/sys/fs/cgroup"
_NANO = 1e9
_MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """The parent groups of one container."""

    parent: str = ""  # path below each hierarchy's root, as the engine takes it; "" for none
    version: str = ""

    def seconds(self) -> float:
        """Return the processor time that was used, in seconds; 0 when not known."""
        if self.version == "v1":
            return _number(f"{_ROOT}/cpuacct{self.parent}/cpuacct.usage") / _NANO
        return _number(f"{_ROOT}{self.parent}/cpu.stat", "usage_usec") / _MICRO

    def peak_memory(self) -> int:
        """Return the most memory that was used, in bytes; 0 when not known."""
        if self.version == "v1":
            return _number(f"{_ROOT}/memory{self.parent}/memory.max_usage_in_bytes")
        return _number(f"{_ROOT}{self.parent}/memory.peak")

    def remove(self) -> None:
        """Remove the groups; the container has gone."""
        if not self.parent:
            return
        names = os.listdir(_ROOT) if self.version == "v1" else [""]
        for name in names:
            with suppress(OSError):  # not in every hierarchy, or a link to another
                os.rmdir(os.path.normpath(f"{_ROOT}/{name}{self.parent}"))


def usage(version: str) -> Usage:
    """Return new parent groups for a container; `version` is that of the engine's groups."""
    if not version:
        return Usage()
    made = Usage(f"/{cgroup.fresh_name()}", version)
    try:
        for folder in _counting(version):
            os.mkdir(f"{folder}{made.parent}")
    except OSError:  # not ours to make
        made.remove()
        return Usage()
    return made


def sweep(version: str) -> None:
    """Remove the groups of processes that were killed; one with processes stays."""
    for folder in _counting(version) if version else ():
        with suppress(OSError):
            for name in os.listdir(folder):
                pid = name.removeprefix("mlbuild-").partition("-")[0]
                if name.startswith("mlbuild-") and pid.isdigit() and not _lives(pid):
                    Usage(f"/{name}", version).remove()


def _lives(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


def _counting(version: str) -> tuple[str, ...]:
    """Return the roots of the hierarchies that count time and memory."""
    return (f"{_ROOT}/memory", f"{_ROOT}/cpuacct") if version == "v1" else (_ROOT,)


def _number(path: str, name: str = "") -> int:
    """Return the number in a file, or the one after `name` in it; 0 when there is none."""
    try:
        with open(path, encoding="ascii") as file:
            words = file.read().split()
        return int(words[words.index(name) + 1] if name else words[0])
    except (OSError, ValueError, IndexError):
        return 0
