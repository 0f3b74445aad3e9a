"""Strays: processes that a command left behind, found by what only its own have.

Those of a command that has ended are among our children, for we adopt orphans. Where the process
that cared for a command was killed, nobody knows its children: they are looked for among all.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from time import monotonic, sleep

MARK = "MLBUILD_OUT"  # its value differs from attempt to attempt: it tells whose process one is
_ENDS_WITHIN = 10.0  # seconds that a process has that was killed
_PAUSE = 0.01


def end_session(leader: int, env: Mapping[str, str], cwd: str) -> None:
    """Kill what is left of a command that has no namespace; its leader is a zombie."""
    os.killpg(leader, signal.SIGKILL)
    mark = f"{MARK}={env[MARK]}".encode() if MARK in env else b""
    while strays := [
        pid for pid in _orphans() if pid != leader and _belongs(pid, leader, mark=mark, cwd=cwd)
    ]:
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
        for pid in strays:
            os.waitpid(pid, 0)


def end_orphans(outputs: str) -> None:
    """Kill the children that we adopted and whose output directory is below the folder `outputs`.

    For what a process that was killed left behind; it was this process's child.
    """
    mark = f"{MARK}={outputs}".encode()
    while strays := [pid for pid in _orphans() if _has_variable(pid, mark)]:
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
        for pid in strays:
            os.waitpid(pid, 0)


def end_lost(folder: str, *, is_lost: Callable[[str], bool]) -> bool:
    """Kill every process whose output directory is in a folder below `folder` that `is_lost`.

    `is_lost` gets the name of that folder. Returns whether none is alive any more.
    """
    start = f"{MARK}={folder}/".encode()
    until = monotonic() + _ENDS_WITHIN
    known: dict[str, bool] = {}
    while lost := [pid for pid, room in _marked(start) if known.setdefault(room, is_lost(room))]:
        if monotonic() > until:
            return False
        for pid in lost:
            _end(pid)
        sleep(_PAUSE)
    return True


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _marked(start: bytes) -> Iterator[tuple[int, str]]:
    """Yield processes with a variable that begins like that, and its next name of a folder."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            _, found, rest = (b"\0" + _environment(int(name))).partition(b"\0" + start)
            if found:
                yield int(name), os.fsdecode(rest.partition(b"\0")[0].partition(b"/")[0])


def _orphans() -> Iterator[int]:
    """Yield our main thread's children: what we adopted is among them, what we start is not."""
    own = os.getpid()
    try:
        file = os.open(f"/proc/self/task/{own}/children", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = b""
            while more := os.read(file, 1 << 16):
                text += more
        finally:
            os.close(file)
        return map(int, text.split())
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        pids = map(int, filter(str.isdigit, os.listdir("/proc")))
        return (pid for pid in pids if _parent(pid) == own)


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/<pid>/stat from the state on; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(4096).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _belongs(pid: int, leader: int, *, mark: bytes, cwd: str) -> bool:
    """Say whether our child `pid` comes from the command of `leader`.

    Other code in this process may have children too, so a proof is asked for: the session, the
    variable that names the output directory, or the working directory. That is none where it is
    the root, in which every daemon works.
    """
    fields = _stat(pid)
    if not fields:
        return False
    if int(fields[3]) == leader:
        return True
    if mark and _has_variable(pid, mark + b"\0"):
        return True
    try:
        return cwd != "/" and os.readlink(f"/proc/{pid}/cwd") == cwd
    except OSError:
        return False


def _has_variable(pid: int, start: bytes) -> bool:
    """Say whether the environment of a process has a variable that begins like that."""
    return b"\0" + start in b"\0" + _environment(pid)


def _environment(pid: int) -> bytes:
    """Return the variables that a process began with; none where that cannot be known."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read(1 << 20)
    except OSError:
        return b""
