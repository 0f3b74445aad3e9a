"""Room: the CPUs, the memory and the disk that a machine has for commands, against what they ask.

GPUs are lent one by one and have a file of their own (`gpus.py`).
"""

import os
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mlbuild.core.action import Run

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Room:
    """What a machine has. A number is 0 where it is not known, and then enough for anything."""

    where: str  # what a user calls the machine
    cpus: int
    memory: int  # bytes
    free: int  # bytes on the disk where commands write
    folder: str  # absolute path of a folder on it

    def lack(self, run: Run) -> str:
        """Return "" when `run` can have what it asks for, else what it needs and what there is."""
        if 0 < self.cpus < run.cpus:
            there_are = "is 1" if self.cpus == 1 else f"are {self.cpus}"
            return f"needs {run.cpus} CPUs, and there {there_are} on {self.where}"
        if 0 < self.memory < run.memory:
            return (
                f"asks for {run.memory >> 20} MiB of memory, "
                f"and {self.where} has {self.memory >> 20} MiB"
            )
        return ""

    def shortage(self, run: Run) -> str:
        """Return the same of what changes with time: the disk."""
        if 0 < self.free < run.disk:
            return (
                f"needs {run.disk / _GIB:.1f} GiB of disk, and {self.where} has "
                f"{self.free / _GIB:.1f} GiB free for `{self.folder}`"
            )
        return ""


@runtime_checkable
class Roomy(Protocol):
    """What an Executor also has whose jobs all run on one machine, which tells what it has."""

    def room(self) -> Room:
        """Return that, asked for once; raise HostError where nobody answers."""
        ...


def here(folder: str, *, where: str = "this host") -> Room:
    """Return what this machine has for commands that write below `folder`, which exists."""
    pages = os.sysconf("SC_PHYS_PAGES")
    memory = os.sysconf("SC_PAGE_SIZE") * pages
    return Room(where, os.cpu_count() or 0, memory, max(1, free(folder)), folder)


def free(folder: str) -> int:
    """Return the bytes that are free on the disk of `folder`."""
    room = os.statvfs(folder)
    # Root may use what is kept back for it.
    return room.f_frsize * (room.f_bfree if os.geteuid() == 0 else room.f_bavail)
