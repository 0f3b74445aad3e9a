"""Holders: the running logs that the holders of key locks have announced."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

from mlbuild.store import files


def running_logs(root: str) -> Iterator[str]:
    """Yield the absolute path of each log that an action of the store at `root` writes now."""
    try:
        names = os.listdir(f"{root}/locks")
    except OSError:
        return
    for name in names:
        path = f"{root}/locks/{name}"
        with suppress(OSError):
            log = os.fsdecode((files.read_file(path) or b"").partition(b"\0")[0])
            if log.startswith("/") and _is_held(path):
                yield log


def _is_held(path: str) -> bool:
    """Say whether somebody alive holds the lock file; a look takes nothing from anybody."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
