"""Collect: carries out the plan of a collection while builds go on.

Results go first, then trees, then blobs, so that a kill at any moment leaves a store in which no
result names what is gone. Each is looked at once more, and removed, while no operation of any build
goes on (`gate.py`): who used it since the plan was made has touched it, and it stays.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from mlbuild.store import files
from mlbuild.store.blobs import EXECUTABLE, PLAIN, STAMP, is_stamped, restamp
from mlbuild.store.disk import DiskStore
from mlbuild.store.gc import Plan
from mlbuild.store.leases import leases
from mlbuild.store.litter import CHECKPOINT, DOWNLOADS, Litter
from mlbuild.store.sidecar import SUFFIX
from mlbuild.store.survey import (
    BLOCK,
    ENTRIES,
    Stored,
    changed,
    contents,
    read_result,
    sharded,
    trees_of,
    used_at,
)


@dataclass(slots=True)
class Removed:
    """What a collection removed."""

    results: int = 0
    trees: int = 0
    blobs: int = 0
    others: int = 0
    freed: int = 0  # bytes of disk
    spared: list[str] = field(default_factory=list)  # paths that were used in the meantime


def foretold(plan: Plan) -> Removed:
    """Return what carrying out `plan` removes when nobody uses any of it in the meantime."""
    counts = (len(plan.known), len(plan.trees), len(plan.blobs), len(plan.litter))
    return Removed(*counts, freed=plan.freed)


def collect(
    store: DiskStore, plan: Plan, *, tell: Callable[[int], None] = lambda _: None
) -> Removed:
    """Remove what `plan` says; `tell` hears again and again how many bytes are free by now."""
    with files.disk_errors(store.root):
        for path in plan.ahead:
            files.touch(path)
        collection = _Collection(store, plan, tell)
        collection.results()
        collection.trees()
        collection.blobs()
        for one in plan.litter:
            collection.litter(one)
        return collection.removed


class _Collection:
    """One collection on its way."""

    def __init__(self, store: DiskStore, plan: Plan, tell: Callable[[int], None]) -> None:
        self._store = store
        self._plan = plan
        self._tell = tell
        self._needed: set[str] = set()  # addresses of blobs that stay after all
        self.removed = Removed()

    def _free(self, size: int) -> None:
        self.removed.freed += size
        self._tell(self.removed.freed)

    def results(self) -> None:
        """Remove results, those that differ from a first one before it."""
        for one in sorted(self._plan.known, key=lambda one: one.path, reverse=True):
            if self._take_away(one.path):
                self.removed.results += 1
                self._free(BLOCK)

    def trees(self) -> None:
        """Remove trees that no result names now, each at once: its sidecar, then its folder."""
        needed, logs = _named(self._store.root)
        self._needed |= logs
        for hash_, tree in self._plan.trees.items():
            listed = contents(self._store.root, hash_)
            if hash_ not in needed and self._take_tree(tree, listed):
                self.removed.trees += 1
                self._free(tree.size)
            else:
                self.removed.spared.append(tree.path)
                self._needed.update(address for address, *_ in listed)

    def _take_tree(self, tree: Stored, files_of: list[tuple[str, int, str]]) -> bool:
        """Remove a tree unless somebody uses it; say whether it was removed."""
        sidecar, aside = tree.path + SUFFIX, self._store.private.name()
        with self._store.gate.alone():
            # A folder whose sidecar is yet to come is as young as its last change.
            if (used_at(sidecar) or changed(tree.path)) >= self._plan.since:
                return False
            files.remove(sidecar)
            try:
                os.chmod(tree.path, 0o700)  # else only root could move it
                os.rename(tree.path, aside)
            except FileNotFoundError:
                return True
        for address, size, path in files_of:
            if size >= files.SHARED and address not in self._plan.blobs:
                self._unlink(f"{aside}/{path}", address)
        files.remove(aside)
        return True

    def _unlink(self, path: str, address: str) -> None:
        """Remove a file that shares its inode with a blob that stays.

        A link less is a new ctime: where the blob's stamp was right, it shall be right again.
        """
        kind, hash_ = (EXECUTABLE, address[1:]) if address[0] == "x" else (PLAIN, address)
        blob = f"{self._store.root}/{kind}/{hash_[:2]}/{hash_}"
        with suppress(FileNotFoundError, NotADirectoryError):
            found = os.lstat(blob)
            if os.lstat(path).st_ino == found.st_ino and is_stamped(blob, found):
                os.chmod(os.path.dirname(path), 0o700)  # else only root could remove it
                os.unlink(path)
                restamp(blob)

    def blobs(self) -> None:
        """Remove blobs that no tree has."""
        for address, blob in self._plan.blobs.items():
            if address not in self._needed and self._take_blob(blob.path):
                self.removed.blobs += 1
                self._free(blob.size)

    def _take_blob(self, path: str) -> bool:
        """Remove a blob unless it is used; say whether it was removed."""
        with self._store.gate.alone():
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                return False
            # The own times of a large one say who linked to it, not who used it.
            used = used_at(path + STAMP) or found.st_ctime_ns
            if used >= self._plan.since or found.st_nlink > 1:
                return False
            files.remove(path)
            files.remove(path + STAMP)
        return True

    def litter(self, one: Litter) -> None:
        """Remove a thing that nobody has to use; what is used after all stays."""
        lock = self._store.key_lock(os.path.basename(one.path))
        if one.kind == CHECKPOINT and not lock.try_acquire():
            return
        try:
            with suppress(FileNotFoundError):
                if self._put_aside(one):
                    self.removed.others += 1
                    self._free(one.size)
        finally:
            lock.release()

    def _put_aside(self, one: Litter) -> bool:
        """Remove a thing, downloads only while nobody else uses the store; say whether it went."""
        root, aside = self._store.root, self._store.private.name()
        if not one.path.startswith(f"{root}/"):  # in the state of a workspace
            files.remove(one.path)
            return True
        with self._store.gate.alone():
            if one.kind == DOWNLOADS and set(leases(root)) - {os.getpid()}:
                return False
            if os.path.isdir(one.path) and not os.path.islink(one.path):
                os.chmod(one.path, 0o700)  # else only root could move it
            os.rename(one.path, aside)
        files.remove(aside)
        return True

    def _take_away(self, path: str) -> bool:
        """Remove a file that nobody touched since the plan was made; say whether it was removed."""
        with self._store.gate.alone():
            try:
                used = os.lstat(path).st_mtime_ns >= self._plan.since
            except FileNotFoundError:
                return False
            if not used:
                os.unlink(path)
        if used:
            self.removed.spared.append(path)
        return not used


def _named(root: str) -> tuple[set[str], set[str]]:
    """Return the hashes of all trees, and the addresses of all logs, that a result names."""
    trees: set[str] = set()
    logs: set[str] = set()
    for path in sharded(root, ENTRIES):
        result = read_result(path)
        if result is not None:
            trees.update(trees_of(result))
            logs.update((result.log.hash,) if result.log else ())
    return trees, logs
