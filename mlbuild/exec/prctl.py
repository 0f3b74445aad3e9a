"""prctl: what a process asks of the kernel about its parents and children."""

import os
import resource
import signal
from functools import cache
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends; let children dump no core."""
    _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def leave_orphans() -> None:
    """Undo `adopt_orphans`: they go to whoever adopts them above us."""
    _libc().prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def follow_parent(parent: int, number: signal.Signals) -> None:
    """Get the signal `number` when the thread that made this process ends; now, if it has."""
    _libc().prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


@cache
def _libc() -> Any:
    import ctypes  # noqa: PLC0415 - 4 ms that only a build with something to run pays

    return ctypes.CDLL(None, use_errno=True)
