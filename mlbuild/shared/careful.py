"""Careful: a shared cache that is never in the way, whatever the one behind it does."""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from mlbuild.core.digest import Digest
from mlbuild.core.result import Result
from mlbuild.core.tree import Tree
from mlbuild.shared.base import Shared, SharedTrouble
from mlbuild.shared.breaker import Breaker
from mlbuild.shared.patience import WORTH_IT, Patience

T = TypeVar("T")
Say = Callable[[str, tuple[str, ...]], None]  # a sentence, and what to do
PATIENCE = Patience(attempts=3)


class Careful:
    """A Shared whose trouble costs time, never a build.

    Reading, it answers as though nothing were there: `lookup` and all that returns bytes. Writing,
    it raises SharedTrouble, so that its caller keeps what was to be sent. Either way `say` hears of
    each cause once, so nobody else tells it. After a few failures in a row nothing is asked for a
    while; reading and writing have a breaker each, since many may do only one of them.
    """

    def __init__(
        self,
        shared: Shared,
        *,
        say: Say,
        patience: Patience = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.traffic = shared.traffic
        self.lost: Counter[str] = Counter()  # requests in vain, by the kind of trouble
        self._shared = shared
        self._say = say
        self._patience = patience
        self._clock = clock
        self._said: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._reading = Breaker(clock=clock)
        self._writing = Breaker(clock=clock)

    # reading

    def lookup(self, key: str) -> Result | None:
        """Return the Result of `key`; None also in trouble."""
        return self._read(lambda: self._shared.lookup(key), otherwise=None)

    def manifest(self, key: str) -> bytes | None:
        """Return the Manifest of `key`; None also in trouble."""
        return self._read(lambda: self._shared.manifest(key), otherwise=None)

    def bring_tree(self, digest: Digest, folder: str) -> Tree | None:
        """Write a tree into `folder`; None also in trouble."""

        def bring() -> Tree | None:
            _empty(folder)  # an attempt before may have left something
            return self._shared.bring_tree(digest, folder)

        tree = self._read(bring, otherwise=None)
        if tree is None:
            self._count("gone")
        return tree

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those whose bytes are not there: all of them in trouble."""
        asked = set(digests)
        return self._read(lambda: self._shared.missing(asked), otherwise=asked)

    def read(self, digest: Digest) -> bytes | None:
        """Return verified bytes; None also in trouble."""
        return self._read(lambda: self._shared.read(digest), otherwise=None)

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write verified bytes to the new file `to`; False also in trouble."""
        return self._read(lambda: self._shared.fetch(digest, to), otherwise=False)

    # writing

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        """Keep `result` unless there is one; return the one that is kept."""
        return self._write(lambda: self._shared.publish(key, result, manifest=manifest))

    def send_tree(self, tree: Tree, folder: str) -> None:
        """Keep the files of `tree`."""
        self._write(lambda: self._shared.send_tree(tree, folder))

    def put(self, content: bytes) -> Digest:
        """Keep `content`."""
        return self._write(lambda: self._shared.put(content))

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep the file at `path`."""
        self._write(lambda: self._shared.put_file(path, digest))

    def close(self) -> None:
        """Give back connections."""
        self._shared.close()

    def _read(self, act: Callable[[], T], *, otherwise: T) -> T:
        if not self._reading.admits():
            self._count("resting")
            return otherwise
        try:
            return self._asked(act, self._reading)
        except SharedTrouble as trouble:
            self._count(trouble.kind)
            self._tell(trouble, "read", "the build goes on without it")
            return otherwise

    def _write(self, act: Callable[[], T]) -> T:
        if not self._writing.admits():
            self._count("resting")
            raise SharedTrouble("unreachable", "the shared cache takes nothing for now")
        try:
            return self._asked(act, self._writing)
        except SharedTrouble as trouble:
            self._count(trouble.kind)
            self._tell(trouble, "write", "results stay on this machine for now")
            raise

    def _asked(self, act: Callable[[], T], breaker: Breaker) -> T:
        """Ask what is behind, as often as it makes sense, and let `breaker` know how it went."""
        started = self._clock()
        try:
            found = self._patience.tried(act)
        except SharedTrouble as trouble:
            if trouble.kind == "damaged":  # the server is well; a miss is the answer
                breaker.worked()
            else:
                breaker.failed(self._clock() - started, final=trouble.kind not in WORTH_IT)
            raise
        breaker.worked()
        return found

    def _count(self, kind: str) -> None:
        with self._lock:
            self.lost[kind] += 1

    def _tell(self, trouble: SharedTrouble, doing: str, consequence: str) -> None:
        """Say what is wrong unless that has been said."""
        with self._lock:
            cause = (trouble.kind, doing)
            if cause in self._said:
                return
            self._said.add(cause)
        hints = (trouble.cure,) if trouble.cure else ()
        self._say(f"the shared cache: {trouble.message}; {consequence}", hints)


def _empty(folder: str) -> None:
    """Remove what is in a folder, of which nothing belongs to anybody."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
