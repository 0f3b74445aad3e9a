"""Collecting: garbage of the local store goes by itself, from time to time, in the background.

A build that ends looks at one file. When the last collection was long ago it starts a process that
is on its own, gives way to everything else, and tells that file what it did.
"""

import json
import os
import sys
import time
from contextlib import suppress

from mlbuild import state
from mlbuild.config import Config
from mlbuild.core.limits import NONE

EVERY = 6 * 3600 * 10**9  # ns between two collections
BACKGROUND = "--background"
_FILE = "collected"
# Our own folder comes last on its path: nothing in it may stand in for a module of Python's.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from mlbuild.__main__ import main; main()"


def start_when_due(config: Config) -> None:
    """Start a collection in the background when the last one was long ago. Never fails."""
    place = f"{config.cache_dir}/{_FILE}"
    if config.max_size == config.max_age == NONE:
        return
    try:
        ago = time.time_ns() - os.stat(place).st_mtime_ns
    except OSError:  # a new store has no garbage yet
        state.keep(place, b"{}")
        return
    if 0 <= ago < EVERY:
        return
    with suppress(OSError):
        os.utime(place)  # who comes next need not start another
        _start(config)


def _start(config: Config) -> None:
    """Start a process that outlives this one and has nothing of it but its settings."""
    environ = {
        **config.environ,
        "MLBUILD_CACHE_DIR": config.cache_dir,
        "MLBUILD_CACHE_MAX_SIZE": config.max_size,
        "MLBUILD_CACHE_MAX_AGE": config.max_age,
    }
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    words = ("cache", "gc", BACKGROUND, "-C", "/")
    folder = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-c", _START, folder, *words],
        environ,
        file_actions=nowhere,
        setsid=True,
    )


def give_way() -> None:
    """Run this thread from now on only when nobody else wants the processor or the disk."""
    with suppress(OSError, AttributeError):
        os.nice(19)
        # Its requests to the disk are idle ones too, as those of all such threads.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def note_collected(root: str, report: dict[str, object]) -> None:
    """Remember what a collection did."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    state.keep(f"{root}/{_FILE}", json.dumps({"when": when, **report}).encode())


def last_collected(root: str) -> dict[str, object]:
    """Return what the last collection did; nothing when there was none."""
    try:
        with open(f"{root}/{_FILE}", "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
