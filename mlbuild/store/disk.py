"""DiskStore: the store of one user on one file system (docs/format.md).

```
<root>/version             "1"; 0700 like all folders here
  cas/ab/<hash>            blobs, 0444          cas-x/ab/<hash>  large executable ones, 0555
  trees/ab/<digest>/       immutable folders    trees/ab/<digest>.stamps  written last
  ac/ab/<key>              Results              manifests/ab/<key>
  locks/<key>              who runs a key       tmp/             private folders of processes
  runs/<id>/               logs and events      checkpoints/<key>/
  quarantine/              what was found damaged
```

Every write is a new file under a private name, then a rename or link: nothing is ever visible
half. Bytes come before the result that names them. Durability is `private.py`'s.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Self

from mlbuild.core.action import Output
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Result
from mlbuild.core.tree import Kind, Tree, below, encode, moved
from mlbuild.errors import ActionError
from mlbuild.store import files, kept
from mlbuild.store.blobs import Blobs
from mlbuild.store.entries import Entries
from mlbuild.store.gate import Gate
from mlbuild.store.ingest import Ingested, collect, contents, seal_files, tree_of_outputs
from mlbuild.store.locks import KeyLock
from mlbuild.store.memory import memory_room
from mlbuild.store.private import Private, rooms, sweep
from mlbuild.store.root import check_root, make_root
from mlbuild.store.trees import Trees
from mlbuild.store.verify import Report, verify

KEPT_RUNS = 100  # at least so many folders of logs stay
KEPT_FOR = 7 * 24 * 3600 * 10**9  # ns
_CLOCK_STEP = 120 * 10**9  # ns that the clock may have been set back while writes were going on


def open_store(root: str) -> "DiskStore":
    """Open the store at `root`, an absolute path; make it when it is not there.

    Removes what dead processes left. After a power cut it first hashes what was written last.
    Raises HostError for a store of another user or of a newer mlbuild.
    """
    with files.disk_errors(root):
        check_root(root)
        store = DiskStore(root)
        try:
            markers = sweep(root)
        except FileNotFoundError:  # somebody removed a folder
            make_root(root)
            markers = sweep(root)
        with suppress(OSError):  # a full disk is no reason not to read
            store.private.enter()  # the lease (`leases.py`), before anything is looked up
        with store.gate:  # who removes something after this moment knows of it
            pass
        if markers:
            _recover(store, markers)
    return store


def _recover(store: "DiskStore", markers: list[str]) -> None:
    """Hash what may have been written after the oldest of `markers`; forget them.

    Two processes may do this at once: each waits for its own end before it uses the store.
    """
    with store.private.writing():
        now = _mtime(store.private.scratch())
        since = min(_mtime(marker) for marker in markers)
        store.verify(since=since - _CLOCK_STEP if 0 < since <= now else 0)
    store.sync()
    for marker in markers:
        files.remove(marker)


def _mtime(path: str) -> int:
    """Return the mtime in ns; 0, which is before everything, when the file has gone."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


class DiskStore:
    """A Store and a Cache, and all else that an engine keeps on disk.

    Safe for many threads and processes at once.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.private = Private(root)
        self.gate = Gate(root)
        self._blobs = Blobs(root, self.private, gate=self.gate)
        self._trees = Trees(root, self.private, self._blobs, gate=self.gate)
        self._entries = Entries(root, self.private, gate=self.gate, complete=self.complete)
        self._memory: Callable[[], Private | None] | None = memory_room
        self._in_memory: Private | None = None
        self._asked_memory = Lock()

    # bytes by digest

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of `digests` whose bytes are not here."""
        return {digest for digest in digests if not self._has(digest)}

    def _has(self, digest: Digest) -> bool:
        return self._blobs.has(digest) or self._trees.encoded(digest) is not None

    def put(self, content: bytes) -> Digest:
        """Keep `content`; return its address."""
        with files.disk_errors(self.root), self.private.writing():
            return self._blobs.put(content)

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes, of a blob or of a tree's encoding; None when absent."""
        with files.disk_errors(self.root):
            return self._trees.encoded(digest)

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep a copy of the file at `path`; raise InputError when it is not `digest` any more."""
        with files.disk_errors(self.root), self.private.writing():
            self._blobs.put_file(path, digest)

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; False when absent or damaged."""
        with files.disk_errors(self.root):
            if self._blobs.fetch(digest, to):
                return True
            content = self._trees.encoded(digest)
            if content is not None:
                files.write_new(to, content, mode=0o644)
            return content is not None

    # directories

    def scratch(self) -> str:
        """Return the absolute path of a new empty folder, on the store's file system."""
        with files.disk_errors(self.root):
            return self.private.scratch()

    def private_of(self, pid: int) -> str:
        """Return what the paths of all scratch folders of a process begin with."""
        return f"{rooms(self.root)}/{pid}-"

    def keep_aside(self, scratch: str, name: str) -> str:
        """Move a scratch folder to where it stays for a week; return its absolute path."""
        with files.disk_errors(self.root):
            return kept.keep_aside(self.root, scratch, name)

    def drop(self, path: str) -> None:
        """Remove a scratch folder, or a part of one, with all that is in it."""
        with files.disk_errors(self.root):
            self.private.drop(path)

    def staging(self) -> str:
        """Return the absolute path of an empty folder in memory, "" where there is none.

        For small copies that live as long as an action; `unstage` gives it back.
        """
        with self._asked_memory:
            if self._memory is not None:
                self._in_memory, self._memory = self._memory(), None
        return self._in_memory.scratch() if self._in_memory is not None else ""

    def unstage(self, path: str) -> None:
        """Remove what is in a folder of `staging`."""
        assert self._in_memory is not None
        self._in_memory.drop(path)

    def ingest(self, out: str, outputs: Sequence[Output]) -> Ingested:
        """Keep the `outputs` that an ended action left in the folder `out`, a part of a scratch.

        `out` itself becomes the tree: it is gone afterwards. Raises ActionError for an output
        that is missing, strange or linked to elsewhere.
        """
        with files.disk_errors(self.root), self.private.writing():
            found = collect(out, outputs, blobs=self._blobs)
            tree = tree_of_outputs(found, outputs)
            given = contents(tree, outputs)
            content = encode(tree)
            digest = digest_of(content)
            if found.large and self._trees.is_whole(digest):
                files.remove(out)  # before a link would change the stamps of its large files
                return Ingested(digest, given, tuple(found.undeclared))
            for entry, blob in found.large:
                executable = entry.kind is Kind.EXECUTABLE
                self._blobs.adopt(f"{out}/{entry.path}", blob, executable=executable)
            if not self._trees.adopt(out, tree, content=content, digest=digest):
                raise ActionError("an output changed while it was kept")
            return Ingested(digest, given, tuple(found.undeclared))

    def ingest_each(self, out: str, outputs: Sequence[Output], *, at: str) -> list[Digest]:
        """Keep each of `outputs`, trees in the folder `out`, as a tree of its own below `at`.

        They are moved out of `out`. Raises ActionError as `ingest` does.
        """
        with files.disk_errors(self.root), self.private.writing():
            found = collect(out, outputs, blobs=self._blobs)
            whole = tree_of_outputs(found, outputs)
            contents(whole, outputs)
            for entry, blob in found.large:
                executable = entry.kind is Kind.EXECUTABLE
                self._blobs.adopt(f"{out}/{entry.path}", blob, executable=executable)
            made = []
            for output in outputs:
                tree = moved(below(whole, output.path), at)
                content = encode(tree)
                made.append(digest_of(content))
                folder = self.private.scratch()
                os.makedirs(os.path.dirname(f"{folder}/{at}"), 0o700, exist_ok=True)
                os.rename(f"{out}/{output.path}", f"{folder}/{at}")
                if not self._trees.adopt(folder, tree, content=content, digest=made[-1]):
                    raise ActionError("an output changed while it was kept")
            return made

    def admit(self, folder: str, tree: Tree) -> bool:
        """Keep the scratch `folder`, which holds exactly `tree`, whose bytes were just verified.

        Nothing is hashed again. `folder` is gone afterwards; False when somebody changed it.
        """
        with files.disk_errors(self.root), self.private.writing():
            content = encode(tree)
            digest = digest_of(content)
            if self._trees.is_whole(digest):
                files.remove(folder)
                return True
            seal_files(folder, tree, blobs=self._blobs)
            return self._trees.adopt(folder, tree, content=content, digest=digest)

    def unite(self, tree: Tree, parts: Mapping[Digest, Tree]) -> Digest | None:
        """Make a tree whose files are in `parts`; None when some of its bytes are not here."""
        with files.disk_errors(self.root), self.private.writing():
            return self._trees.unite(tree, parts)

    def place(self, tree: Digest, path: str = "") -> str | None:
        """Return the absolute path of a tree, or of `path` in it, once it is known to be whole.

        What is missing or damaged is healed from blobs; None when that cannot be done.
        """
        with files.disk_errors(self.root):
            return self._trees.place(tree, path)

    def path(self, tree: Digest) -> str:
        """Return where a tree lies when it is here; nothing is checked."""
        return self._trees.path(tree)

    def tree(self, digest: Digest) -> Tree | None:
        """Return the listing of a tree; None when unknown or damaged."""
        with files.disk_errors(self.root):
            return self._trees.tree(digest)

    def materialise(self, tree: Tree) -> Digest | None:
        """Make a tree from blobs, unless it is here; None when some of its bytes are not here."""
        with files.disk_errors(self.root), self.private.writing():
            return self._trees.materialise(tree)

    def stamps(self, tree: Digest) -> list[tuple[str, int, int, int, int]]:
        """Return path, size, mtime_ns, ctime_ns and inode of each file and folder of a tree.

        Paths are absolute; the numbers are those of when the tree was last placed. Symlinks have
        none: their folder vouches for them. Empty when the tree is not here.
        """
        with files.disk_errors(self.root):
            return self._trees.stamps(tree)

    # results by key

    def complete(self, result: Result) -> bool:
        """Say whether all that a result names is here, by looking at names and sizes only."""
        with files.disk_errors(self.root):
            return self._trees.has(result.tree) and (
                result.log is None or self._blobs.has(result.log)
            )

    def lookup(self, key: str) -> Result | None:
        """Return the Result of `key`; None when unknown or damaged."""
        with files.disk_errors(self.root):
            return self._entries.lookup(key)

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        """Keep `result` unless `key` has a complete one already; return the one that is kept."""
        with files.disk_errors(self.root), self.private.writing():
            return self._entries.publish(key, result, manifest=manifest)

    def follow(self, key: str, first: Result, *, ours: Result) -> None:
        """Let `first`, which all others have, stand for `key` where `ours` does."""
        with files.disk_errors(self.root), self.private.writing():
            self._entries.follow(key, first, ours=ours)

    def manifest(self, key: str) -> bytes | None:
        """Return the encoded Manifest of `key`; None when unknown or damaged."""
        with files.disk_errors(self.root):
            return self._entries.manifest(key)

    def alternates(self, key: str) -> list[Result]:
        """Return later results of `key` that differ from the one that is kept."""
        with files.disk_errors(self.root):
            return self._entries.alternates(key)

    # the rest

    def key_lock(self, key: str) -> KeyLock:
        """Return the lock of `key`, not yet acquired."""
        return KeyLock(f"{self.root}/locks/{key}", self.private)

    def checkpoint(self, key: str) -> str:
        """Return the absolute path of the folder of `key` that survives a killed attempt."""
        return self._folder(f"checkpoints/{key}")

    def run_folder(self, invocation: str) -> str:
        """Return the absolute path of the folder of one invocation's logs.

        Folders older than a week go, as long as there are many newer ones.
        """
        path = self._folder(f"runs/{invocation}/logs")
        with files.disk_errors(self.root):
            known = sorted(os.listdir(f"{self.root}/runs"))
            for name in known[:-KEPT_RUNS]:
                old = f"{self.root}/runs/{name}"
                if time.time_ns() - _mtime(old) > KEPT_FOR:
                    files.remove(old)
            kept.sweep_kept(self.root, older=kept.KEPT_FOR)
        return path

    def _folder(self, name: str) -> str:
        path = f"{self.root}/{name}"
        with files.disk_errors(self.root):
            os.makedirs(path, 0o700, exist_ok=True)
        return path

    def sync(self) -> None:
        """Make all that was written durable: after a long action and at the end of a build."""
        with files.disk_errors(self.root):
            self.private.sync()

    def verify(
        self, *, repair: bool = True, since: int = 0, tell: Callable[[int], None] = lambda _: None
    ) -> Report:
        """Read everything (or what changed since a time in ns) and compare it with its name.

        `tell` hears again and again how many things have been looked at.
        """
        with files.disk_errors(self.root):
            return verify(
                self.root, self.private, self._trees, repair=repair, since=since, tell=tell
            )

    def close(self) -> None:
        """Sync and give back what this process holds."""
        with files.disk_errors(self.root):
            self.gate.close()
            self.private.close()
            if self._in_memory is not None:
                self._in_memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
