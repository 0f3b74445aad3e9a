"""Kept: the sandboxes of failed actions that somebody wanted to look at, below `kept/`.

They lie there until `mlbuild clean` of their workspace, or until a build finds them a week old.
"""

import os
import re
import time

from mlbuild.core.digest import digest_of
from mlbuild.store import files

FOLDER = "kept"
KEPT_FOR = 7 * 24 * 3600 * 10**9  # ns
_STRANGE = re.compile(r"[^A-Za-z0-9_.@-]+")
_LONGEST = 80


def kept_prefix(workspace: str) -> str:
    """Return what the names of all that is kept for the workspace at a root begin with."""
    return digest_of(os.fsencode(workspace)).hash[:8] + "-"


def keep_aside(root: str, scratch: str, name: str) -> str:
    """Move the folder `scratch` to where it stays for a while; return its new absolute path."""
    prefix, label = name[:9], _STRANGE.sub("_", name[9:]).strip("_")[:_LONGEST]
    os.makedirs(f"{root}/{FOLDER}", 0o700, exist_ok=True)
    stem = f"{root}/{FOLDER}/{prefix}{label}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    number, place = 0, stem
    while os.path.lexists(place):
        number += 1
        place = f"{stem}-{number}"
    os.rename(scratch, place)
    os.utime(place)
    return place


def sweep_kept(root: str, *, prefix: str = "", older: int = 0) -> int:
    """Remove what is kept, under `prefix` only, and older than so many ns; return how many."""
    try:
        names = os.listdir(f"{root}/{FOLDER}")
    except FileNotFoundError:
        return 0
    now, removed = time.time_ns(), 0
    for name in names:
        place = f"{root}/{FOLDER}/{name}"
        if name.startswith(prefix) and now - os.lstat(place).st_mtime_ns >= older:
            files.remove(place)
            removed += 1
    return removed
