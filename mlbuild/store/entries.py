"""Entries: Results by Key (`ac/ab/<key>`) and the Manifests they came from (`manifests/ab/<key>`).

The first writer wins. A later, different result for the same key is kept beside it as
`<key>.alt-<n>`, at most eight of them: evidence that an action is not deterministic. Only an entry
that is damaged, or whose bytes are gone, gives way to a new one.
"""

import os
from collections.abc import Callable

from mlbuild.core.manifest import key_of
from mlbuild.core.result import Result, decode, encode
from mlbuild.errors import InputError
from mlbuild.store import files
from mlbuild.store.gate import Gate
from mlbuild.store.private import Private

ALTERNATES = 8


class Entries:
    """The results and manifests below `root`. `complete` says whether a result's bytes are here."""

    def __init__(
        self, root: str, private: Private, *, gate: Gate, complete: Callable[[Result], bool]
    ) -> None:
        self._root = root
        self._private = private
        self._gate = gate
        self._complete = complete

    def path(self, key: str) -> str:
        """Return where the result of `key` lies when there is one."""
        return f"{self._root}/ac/{key[:2]}/{key}"

    def lookup(self, key: str) -> Result | None:
        """Return the Result of `key`; a damaged one goes to the quarantine."""
        path = self.path(key)
        self._gate.touch(path)  # before it is read: what was there then stays
        return self._read(path)

    def _read(self, path: str) -> Result | None:
        stored = files.read_file(path)
        if stored is None:
            return None
        try:
            return decode(stored)
        except (InputError, ValueError, KeyError, TypeError):
            self._private.quarantine(path)
            return None

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        """Keep `result` unless `key` has a whole one already; return the one that is kept.

        The manifest goes under its own hash, which is not `key` for a result that was made
        outside a sandbox.
        """
        self._keep_manifest(key_of(manifest), manifest)
        path = self.path(key)
        name = self._private.name()
        files.write_new(name, encode(result), mode=0o600)
        try:
            while True:
                try:
                    _link(name, path)
                except FileExistsError:
                    kept = self.lookup(key)
                    if kept is None:
                        self._private.clear(path)
                        continue
                    if self._complete(kept):
                        self._keep_alternate(name, path, result, kept=kept)
                        return kept
                    self._private.settle(name, path)
                return result
        finally:
            files.remove(name)

    def follow(self, key: str, first: Result, *, ours: Result) -> None:
        """Let `first`, which all others have, stand for `key`; keep `ours` beside it."""
        path = self.path(key)
        if self._read(path) != ours:
            return
        mine, theirs = self._private.name(), self._private.name()
        files.write_new(mine, encode(ours), mode=0o600)
        files.write_new(theirs, encode(first), mode=0o600)
        try:
            self._keep_alternate(mine, path, ours, kept=first)
            with self._gate:  # else a collection might take it for what was there before
                self._private.settle(theirs, path)
        finally:
            files.remove(mine)

    def _keep_alternate(self, name: str, path: str, result: Result, *, kept: Result) -> None:
        """Keep a result that differs in what it made from all that are known."""
        known = kept
        for number in range(1, ALTERNATES + 1):
            if _same(known, result):
                return
            try:
                _link(name, f"{path}.alt-{number}")
            except FileExistsError:
                known = self._read(f"{path}.alt-{number}") or known
            else:
                return

    def alternates(self, key: str) -> list[Result]:
        """Return the results of `key` that differ from the one that is kept."""
        paths = (f"{self.path(key)}.alt-{number}" for number in range(1, ALTERNATES + 1))
        return [result for path in paths if (result := self._read(path))]

    def _manifest_path(self, key: str) -> str:
        return f"{self._root}/manifests/{key[:2]}/{key}"

    def manifest(self, key: str) -> bytes | None:
        """Return the encoded Manifest of `key`, whose hash the key is."""
        path = self._manifest_path(key)
        content = files.read_file(path)
        if content is None or key_of(content) == key:
            return content
        self._private.quarantine(path)
        return None

    def _keep_manifest(self, key: str, manifest: bytes) -> None:
        path = self._manifest_path(key)
        if files.is_file(path, size=len(manifest)):
            return
        name = self._private.name()
        files.write_new(name, manifest, mode=0o600)
        self._private.settle(name, path)


def _link(name: str, path: str) -> None:
    try:
        os.link(name, path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.link(name, path)


def _same(one: Result, other: Result) -> bool:
    """Say whether two runs made the same; how long they took is another matter."""
    return one.tree == other.tree and one.outputs == other.outputs
