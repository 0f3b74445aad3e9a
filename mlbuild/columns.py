"""Columns: how files look to `stat`, as bytes that are compared as a whole.

Size, mtime, ctime (ns) and inode of each file, 8 bytes each, one file after the other. This module
is on the path of a null build: it imports next to nothing and makes no object per file.
"""

import os
from array import array

WIDTH = 32  # bytes a file
TICK = 20_000_000  # ns: a stamp this young may hide a later write
COARSE = 2_000_000_000  # ns: likewise, where a file system counts in whole seconds
_INODE = 0x7FFF_FFFF_FFFF_FFFF
SKIPPED = frozenset({"mlbuild-out", ".mlbuild", ".git"})


def take(names: list[str], *, at: int | None, follow: bool) -> bytes | None:
    """Return the columns of `names`, relative to the open folder `at`; None when one is missing."""
    found: array[int] = array("q")
    stat, extend = os.stat, found.extend
    try:
        if follow:
            for name in names:
                it = stat(name, dir_fd=at)
                extend((it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino & _INODE))
        else:
            for name in names:
                it = stat(name, dir_fd=at, follow_symlinks=False)
                extend((it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino & _INODE))
    except (OSError, OverflowError, ValueError):
        return None
    return found.tobytes()


def stamp(it: os.stat_result) -> bytes:
    """Return the columns of one file."""
    return array("q", (it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino & _INODE)).tobytes()


def young(columns: bytes, since: int) -> bool:
    """Say whether a file may have been written after `since` (ns) without its stamp telling."""
    values = array("q", columns)
    for moments in (values[1::4], values[2::4]):
        if not moments:
            return False
        newest = max(moments)
        if newest <= since - COARSE:
            continue
        if newest > since - TICK or any(
            moment > since - COARSE and moment % 1_000_000_000 == 0 for moment in moments
        ):
            return True
    return False


def open_folder(path: str) -> int:
    """Return a descriptor of the folder `path`."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def listing(path: str) -> str:
    """Return the names in a folder, sorted, folders with a slash, without what mlbuild keeps there.

    "" for a folder that is not there or is empty.
    """
    try:
        with os.scandir(path) as entries:
            return "\0".join(
                sorted(
                    f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in entries
                    if entry.name not in SKIPPED
                )
            )
    except OSError:
        return ""
