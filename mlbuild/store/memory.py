"""Memory: a place in memory for what lives as short as one action: copies of its small inputs.

Making and removing a few files per action costs a disk's file system more than all else that an
action takes. What is large, and what is kept, never comes here.
"""

import os
import stat

from mlbuild.store.private import Private, rooms, sweep_rooms

SHARED = "/dev/shm"  # noqa: S108 - what is made there is private and checked
ENOUGH = 512 << 20  # bytes that must be free


def memory_room() -> Private | None:
    """Return a private place in memory; None where there is none that serves."""
    root = f"{SHARED}/mlbuild-{os.geteuid()}"
    try:
        room = os.statvfs(SHARED)
        if room.f_flag & os.ST_NOEXEC or room.f_bavail * room.f_frsize < ENOUGH:
            return None
        os.makedirs(rooms(root), 0o700, exist_ok=True)
        found = os.lstat(root)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None  # somebody else was there first
        os.chmod(root, 0o700)
        sweep_rooms(root)
    except OSError:
        return None
    return Private(root)
