"""Garbage collection: which results a store gives up, and what goes with them.

Nothing goes that somebody needs: what a link in the `mlbuild-out` of a workspace shows, what is
pinned or waits to be uploaded, what was used within the grace time, or since the oldest process
that uses the store began (`leases.py`). Of the rest, results that were not used for too long go,
and then the least recently used ones until the store is small enough. A tree goes with the last
result that names it, a blob with the last tree. Manifests stay: they say why something ran.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlbuild.core.limits import Limits
from mlbuild.store import files
from mlbuild.store.disk import DiskStore
from mlbuild.store.litter import Litter, rubbish, spare
from mlbuild.store.survey import BLOCK, Known, Stored, Survey, contents, total

GRACE = 3600 * 10**9  # ns that everything stays which was used
_FAR_AHEAD = 24 * 3600 * 10**9  # ns; a time so far in the future is a clock's mistake
_KEPT = (
    *("ac", "manifests", "trees", "cas", "cas-x", "checkpoints"),
    *("quarantine", "runs", "kept", "uses", "pins", "far", "known"),
)


@dataclass(slots=True)
class Plan:
    """What a collection removes, in this order."""

    known: list[Known] = field(default_factory=list)
    trees: dict[str, Stored] = field(default_factory=dict)  # by hash
    blobs: dict[str, Stored] = field(default_factory=dict)  # by address
    litter: list[Litter] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)  # files whose time has not come yet
    before: int = 0  # bytes of disk that the store takes
    since: int = 0  # ns; what is touched at or after that stays

    @property
    def freed(self) -> int:
        """Bytes of disk that go."""
        lost = total(self.trees.values()) + total(self.blobs.values())
        return BLOCK * len(self.known) + lost + sum(one.size for one in self.litter)


def horizon_of(found: Survey, now: int, *, grace: int = GRACE) -> int:
    """Return the time (ns) since when everything that was used stays."""
    others = [since for pid, since in found.leases.items() if pid != os.getpid()]
    return min([now, *others]) - grace


def now_of(store: DiskStore) -> int:
    """Return the time (ns) by the clock that stamps the store's files."""
    scratch = store.scratch()
    try:
        return os.stat(scratch).st_mtime_ns
    finally:
        store.drop(scratch)


def plan(found: Survey, limits: Limits, *, now: int, grace: int = GRACE) -> Plan:
    """Choose what has to go so that `limits` hold, as far as nobody needs it.

    `now` (`now_of`) was taken before the survey: who began after that touches what he uses.
    """
    choice = _Choice(found, horizon=horizon_of(found, now, grace=grace), now=now)
    choice.out_of_age(limits.age)
    choice.garbage()
    if limits.size is not None:
        choice.shrink(limits.size)
    return choice.plan


@dataclass(slots=True)
class _Group:
    """The results of one key, which go together."""

    used: int  # ns
    known: list[Known] = field(default_factory=list)

    @property
    def trees(self) -> set[str]:
        return {tree for one in self.known for tree in one.trees}

    @property
    def logs(self) -> set[str]:
        return {one.log for one in self.known if one.log}


class _Choice:
    """One choice on its way."""

    def __init__(self, found: Survey, *, horizon: int, now: int) -> None:
        self._found = found
        self._horizon = horizon
        self._now = now
        self.plan = Plan(before=found.size, since=horizon)
        self._freed = 0  # bytes of disk
        self._spare = spare(found)
        self._linked = set().union(*found.shown.values())
        self._groups = self._grouped()
        self._tree_users: Counter[str] = Counter()
        self._blob_users: Counter[str] = Counter()

    def _grouped(self) -> dict[str, _Group]:
        groups: dict[str, _Group] = {}
        for one in self._found.known:
            used = one.used
            if used > self._now + _FAR_AHEAD:
                self.plan.ahead.append(one.path)
                used = self._now
            group = groups.setdefault(one.path.partition(".alt-")[0], _Group(used))
            group.known.append(one)
            group.used = max(group.used, used)
        return groups

    def _held(self, group: _Group) -> bool:
        key = group.known[0].key
        return (
            group.used >= self._horizon
            or key in self._found.pinned
            or key in self._found.queued
            or any(one.trees[:1] and one.trees[0] in self._linked for one in group.known)
        )

    def out_of_age(self, age: float | None) -> None:
        """Give up what was not used for `age` seconds."""
        since = self._now - int(age * 1e9) if age is not None else 0
        for path, group in list(self._groups.items()):
            if group.used < since and not self._held(group):
                self._give_up(path)
        since = min(since, self._horizon)
        for one in (*rubbish(self._found, now=self._now, since=since), *self._spare):
            if one.always or one.used < since:
                self._throw(one)

    def garbage(self) -> None:
        """Give up trees and blobs that nothing needs."""
        for group in self._groups.values():
            self._tree_users.update(group.trees)
            self._blob_users.update(group.logs)
        for hash_, tree in self._found.trees.items():
            if self._tree_stays(hash_, tree):
                addresses = {one for one, *_ in contents(self._found.root, hash_)}
                self._blob_users.update(addresses)
            else:
                self._drop(self.plan.trees, hash_, tree)
        for address, blob in self._found.blobs.items():
            if not self._blob_stays(address, blob):
                self._drop(self.plan.blobs, address, blob)

    def _drop(self, among: dict[str, Stored], name: str, one: Stored) -> None:
        among[name] = one
        self._freed += one.size

    def _throw(self, one: Litter) -> None:
        self.plan.litter.append(one)
        self._freed += one.size

    def _tree_stays(self, hash_: str, tree: Stored) -> bool:
        return self._tree_users[hash_] > 0 or hash_ in self._linked or tree.used >= self._horizon

    def _blob_stays(self, address: str, blob: Stored) -> bool:
        return self._blob_users[address] > 0 or blob.used >= self._horizon

    def shrink(self, size: int) -> None:
        """Give up what was used least recently until at most `size` bytes are left."""
        thrown = {one.path for one in self.plan.litter}
        line: list[tuple[int, str, Litter | None]] = [
            *((one.used, one.path, one) for one in self._spare if one.path not in thrown),
            *((one.used, path, None) for path, one in self._groups.items() if not self._held(one)),
        ]
        for used, path, thing in sorted(line, key=lambda one: one[:2]):
            if self.plan.before - self._freed <= size or used >= self._horizon:
                return
            if thing is not None:
                self._throw(thing)
            else:
                self.release(path)

    def release(self, path: str) -> None:
        """Give up a group, and what nothing but it needs."""
        group = self._give_up(path)
        gone: list[str] = list(group.logs)
        for hash_ in group.trees:
            self._tree_users[hash_] -= 1
            tree = self._found.trees.get(hash_)
            if tree is not None and not self._tree_stays(hash_, tree):
                self._drop(self.plan.trees, hash_, tree)
                gone.extend({one for one, *_ in contents(self._found.root, hash_)})
        for address in gone:
            self._blob_users[address] -= 1
            blob = self._found.blobs.get(address)
            if blob is not None and not self._blob_stays(address, blob):
                self._drop(self.plan.blobs, address, blob)

    def paths(self) -> list[str]:
        """Return the paths of the results that are there; later ones go with the first."""
        return list(self._groups)

    def _give_up(self, path: str) -> _Group:
        group = self._groups.pop(path)
        self.plan.known.extend(group.known)
        self._freed += BLOCK * len(group.known)
        return group


def plan_without(found: Survey, keys: Iterable[str], *, now: int) -> Plan:
    """Choose the results of `keys`, and what nothing but them needs, for a user who says so.

    A build that uses them at this moment makes them anew.
    """
    since = now + 1  # who asks has just looked at them himself, within one tick of the clock
    choice = _Choice(found, horizon=since, now=now)
    choice.garbage()
    choice.plan = Plan(before=found.size, since=since)  # other garbage is not what was asked for
    wanted = set(keys)
    for path in choice.paths():
        if os.path.basename(path) in wanted:
            choice.release(path)
    return choice.plan


def clean(store: DiskStore) -> int:
    """Remove all results and bytes; return how many bytes of disk that frees.

    A build that goes on meanwhile finds misses. Results go first: none ever names what is gone.
    """
    freed = 0
    with files.disk_errors(store.root):
        for name in _KEPT:
            aside = store.private.name()
            try:
                os.rename(f"{store.root}/{name}", aside)
            except FileNotFoundError:
                continue
            finally:
                os.makedirs(f"{store.root}/{name}", 0o700, exist_ok=True)
            freed += files.usage(aside, seen=set())
            files.remove(aside)
    return freed
