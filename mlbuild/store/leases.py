"""Leases: which processes use a store now, and since when.

Whoever opens a store has a private folder, and holds a flock on the file beside it as long as it
lives (`private.py`): the kernel ends the lease in whatever way its holder ends. The file's mtime
says since when. Whatever such a process uses of the store, it touches; so what was last used before
the oldest lease began is used by nobody who is alive.
"""

import fcntl
import os

from mlbuild.store import files
from mlbuild.store.private import LOCK, rooms


def leases(root: str) -> dict[int, int]:
    """Return the processes that use the store now: by pid, since when (ns)."""
    found: dict[int, int] = {}
    try:
        names = os.listdir(rooms(root))
    except FileNotFoundError:
        return found
    for name in names:
        pid = name.partition("-")[0]
        if name.endswith(LOCK) and pid.isdigit():
            since = _held_since(f"{rooms(root)}/{name}")
            if since is not None:
                found[int(pid)] = min(since, found.get(int(pid), since))
    return found


def _held_since(path: str) -> int | None:
    """Return since when somebody holds a lock file (ns); None when its holder is dead."""
    try:
        fd = os.open(path, files.READ)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.fstat(fd).st_mtime_ns
    else:
        return None
    finally:
        os.close(fd)
