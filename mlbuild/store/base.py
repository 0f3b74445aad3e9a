"""The two protocols of storage: Store (bytes by Digest) and Cache (Result by Key)."""

from collections.abc import Iterable
from typing import Protocol

from mlbuild.core.digest import Digest
from mlbuild.core.result import Result


class Store(Protocol):
    """Bytes by Digest. What leaves a store has been checked against its name."""

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of `digests` whose bytes are not here."""
        ...

    def put(self, content: bytes) -> Digest:
        """Keep `content`; return its address."""
        ...

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes, or None when they are absent or damaged (then dropped)."""
        ...

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep the file at `path`, known to be `digest`. The file at `path` is left as it is."""
        ...

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; False when absent or damaged."""
        ...


class Cache(Protocol):
    """Result by Key. An entry is a claim: its reader checks that the bytes behind it exist."""

    def lookup(self, key: str) -> Result | None:
        """Return the Result of `key`; None when unknown or damaged."""
        ...

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        """Keep `result` unless `key` has one already; return the one that is kept.

        The bytes of the result must be in the Store before.
        """
        ...

    def manifest(self, key: str) -> bytes | None:
        """Return the encoded Manifest of `key`; None when unknown or damaged."""
        ...
