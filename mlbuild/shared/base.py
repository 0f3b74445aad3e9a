"""The protocol of a shared cache, and how it says that it is in trouble."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from mlbuild.core.digest import Digest
from mlbuild.core.tree import Tree
from mlbuild.store.base import Cache, Store


class Shared(Store, Cache, Protocol):
    """A Store and a Cache that many machines use, and whole trees in few requests.

    A result may be known whose bytes are still far away: `lookup` moves none of them but small
    ones that travel with the entry. Every byte that is returned or written has been verified.
    Safe for many threads at once. All methods raise SharedTrouble.
    """

    traffic: "Traffic"

    def send_tree(self, tree: Tree, folder: str) -> None:
        """Keep the files of `tree`, which lie in the absolute `folder`, and its listing.

        A small tree travels with the entry that is published next. Raises InputError for a file
        that is not what `tree` says.
        """
        ...

    def bring_tree(self, digest: Digest, folder: str) -> Tree | None:
        """Write the tree `digest` into the empty `folder`; return its listing.

        A small tree travels with the entry of its result: look that up in the same session before.
        Files are 0644 or 0755. None when bytes are gone or damaged: `folder` then holds anything.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class Bucket(Protocol):
    """Bytes by name in somebody's object store, file server or web server; verifies nothing.

    Names are `/`-separated, of letters, digits and `.-_`. Safe for many threads at once. All
    methods raise SharedTrouble.
    """

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return `size` bytes from `start` (-1: all); None when there is no object.

        Raises SharedTrouble of kind "damaged" as soon as more than `limit` bytes arrive.
        """
        ...

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep `content` under `name`; with `fresh`, only where nothing is, else return False.

        A server that does not know conditional writes may overwrite and return True.
        """
        ...

    def names(self, prefix: str) -> Iterator["Object"]:
        """Yield all objects whose names begin with `prefix`."""
        ...

    def remove(self, names: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a bucket, as a listing shows it."""

    name: str
    size: int  # bytes
    modified: float  # seconds since the epoch, by the server's clock


@dataclass(slots=True)
class Traffic:
    """Bytes and requests so far."""

    down: int = 0
    up: int = 0
    requests: int = 0


class SharedTrouble(Exception):  # noqa: N818 - trouble, not a fault
    """Why a shared cache did not do what was asked. Never fatal to a build.

    `kind`: "unreachable" "slow" "denied" "damaged" "full" "refused" "readonly". Only the first two
    are worth another try. `cure` is what to do, such as the permission that is missing.
    """

    def __init__(self, kind: str, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.cure = cure
