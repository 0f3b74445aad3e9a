"""Parent: whether the process that made us has been killed.

A child hears of that by a signal, which comes as soon as the thread that forked it has died: other
threads may be dying still, and for so long the process keeps its place as our parent.
"""

import os
import time

_DYING = 0x4  # PF_EXITING of the kernel
_LOOKS = 10
_PAUSE = 0.002  # seconds between two


def is_gone(parent: int) -> bool:
    """Say whether the process `parent`, which made this one, is dead or dying."""
    for _ in range(_LOOKS):
        if os.getppid() != parent or is_dying(parent):
            return True
        time.sleep(_PAUSE)
    return False


def is_dying(pid: int) -> bool:
    """Say whether a process is dead, though nobody has waited for it, or about to be."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return True
    return fields[0] in {b"Z", b"X"} or bool(int(fields[6]) & _DYING)
