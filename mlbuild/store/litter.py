"""Litter: what a store has besides results and their bytes, and when it may go.

What was found damaged, logs and sandboxes of failures stay for a while. Checkpoints of attempts
that never ended, what package managers downloaded, and what a shared cache was last seen to have,
stay as long as there is room.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mlbuild.store import files
from mlbuild.store.disk import KEPT_FOR, KEPT_RUNS
from mlbuild.store.survey import BLOCK, Survey, newest
from mlbuild.store.uses import uses

QUARANTINE = 1 << 30  # bytes of disk that damaged things may take
CHECKPOINT, DOWNLOADS, FAR = "checkpoint", "downloads", "far"
_DAY = 24 * 3600 * 10**9  # ns
_TEMPORARY = re.compile(r".+\.[0-9]+(\.damaged)?")  # as `state.py` names them
_STATE = ".mlbuild"


@dataclass(frozen=True, slots=True)
class Litter:
    """One file or folder that may go."""

    kind: str
    path: str  # absolute
    used: int  # ns
    size: int  # bytes of the store's disk
    always: bool = False  # whether it goes in any case


def rubbish(found: Survey, *, now: int, since: int) -> Iterator[Litter]:
    """Yield what goes in any case; `since` is the time (ns) before which nothing is kept."""
    yield from _damaged(found.root, now - KEPT_FOR)
    for path in files.below(f"{found.root}/kept"):
        if (used := _time(path)) < now - KEPT_FOR:
            yield _one("sandbox", path, used)
    runs = files.below(f"{found.root}/runs")
    for at, path in enumerate(runs):
        used = _time(path)
        if used < since or (used < now - KEPT_FOR and at < len(runs) - KEPT_RUNS):
            yield _one("logs", path, used)
    for use in uses(found.root):
        if use.used < min(since, now - KEPT_FOR) and use.workspace not in found.shown:
            yield Litter("use", use.path, use.used, 0, always=True)
    for workspace in found.shown:
        yield from _state(f"{workspace}/{_STATE}", now=now, since=since)


def spare(found: Survey) -> list[Litter]:
    """Return what goes when it was not used for long, or when room is needed."""
    places = [
        (CHECKPOINT, path)
        for path in files.below(f"{found.root}/checkpoints")
        if not os.path.lexists(f"{found.root}/locks/{os.path.basename(path)}")
    ]
    places += [(FAR, path) for one in files.below(f"{found.root}/far") for path in _results(one)]
    if not any(pid != os.getpid() for pid in found.leases):
        places += [(DOWNLOADS, path) for path in files.below(f"{found.root}/downloads")]
    return [
        Litter(kind, path, newest(path), files.usage(path, seen=set()) or BLOCK)
        for kind, path in places
    ]


def _results(folder: str) -> Iterator[str]:
    """Yield the files of what a shared cache was last seen to have."""
    for shard in files.below(folder):
        yield from files.below(shard)


def _damaged(root: str, week_ago: int) -> Iterator[Litter]:
    """Yield what lies in the quarantine for too long, or is too much; the newest stays longest."""
    total = 0
    places = files.below(f"{root}/quarantine") + files.below(f"{root}/quarantine/shared")
    found = [
        _one("damaged", path, _time(path)) for path in places if path != f"{root}/quarantine/shared"
    ]
    for one in sorted(found, key=lambda one: -one.used):
        total += one.size
        if one.used < week_ago or total > QUARANTINE:
            yield one


def _state(folder: str, *, now: int, since: int) -> Iterator[Litter]:
    """Yield what killed builds left in the state of a workspace, and answers to old requests."""
    for path in files.below(folder):
        if _TEMPORARY.fullmatch(os.path.basename(path)) and _time(path) < now - _DAY:
            yield Litter("state", path, _time(path), 0, always=True)
    for name in ("plans", "requests"):
        for path in files.below(f"{folder}/{name}"):
            temporary = _TEMPORARY.fullmatch(os.path.basename(path))
            if _time(path) < (now - _DAY if temporary else since):
                yield Litter("state", path, _time(path), 0, always=True)


def _one(kind: str, path: str, used: int) -> Litter:
    size = files.usage(path, seen=set()) or (BLOCK if os.path.lexists(path) else 0)
    return Litter(kind, path, used, size, always=True)


def _time(path: str) -> int:
    """Return the time (ns) of the last change to a file or folder itself; now when it has gone."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return time.time_ns()
    return max(found.st_mtime_ns, found.st_ctime_ns) if os.path.isdir(path) else found.st_mtime_ns
