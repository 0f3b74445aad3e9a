"""Session: one connection to a machine for all threads of a process, and what goes through it.

It has one link for questions, and one more for what is large as soon as there is such a thing: so a
long transfer keeps nobody waiting who only asks how far a run is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from mlbuild.core.digest import Digest
from mlbuild.remote.control import Control
from mlbuild.remote.freight import Freight, bucket_at, freight_in
from mlbuild.remote.link.link import FarBucket, Link
from mlbuild.shared.base import Bucket, Object
from mlbuild.shared.layout import BLOBS, CHUNKS, PACKS
from mlbuild.store import files

LIGHT = 64 << 10  # bytes that go through the link for questions
_HEAVY = {BLOBS, CHUNKS, PACKS}


class Session:
    """What goes through the links that `connect` opens; for any number of threads.

    `store` is the URL of the bucket that both machines use, "" for one of that machine; `memo` a
    private folder for what is known of it. `before` ends long transfers by raising.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        *,
        store: str,
        memo: str,
        before: Callable[[], None],
    ) -> None:
        self.link = connect()
        self._connect = connect
        self._memo = memo
        self._before = before
        self._door = Lock()
        self._heavy: Link | None = None
        self._freight: Freight | None = None
        self._old: list[Freight] = []
        self._sending: dict[Digest, Lock] = {}
        self._bucket: Bucket
        self.has_bucket_there = not store
        if store:
            self._bucket = bucket_at(store)
            self.control = Control(self._bucket)
        else:
            self._bucket = _TwoWays(self, before=before)
            self.control = Control(FarBucket(self.link))

    @property
    def is_over(self) -> bool:
        """Say whether a link has ended, or is not listened to any more."""
        heavy = self._heavy
        return self.link.is_over or (heavy is not None and heavy.is_over)

    @property
    def written(self) -> int:
        """How many objects it has carried to the machine."""
        heavy = self._heavy
        return self.link.written + (heavy.written if heavy is not None else 0)

    @property
    def heavy(self) -> Link:
        """The link for what is large."""
        with self._door:
            if self._heavy is None:
                self._heavy = self._connect()
            return self._heavy

    @property
    def freight(self) -> Freight:
        """The trees that go through it."""
        with self._door:
            if self._freight is None:
                self._freight = freight_in(self._bucket, memo=self._memo)
            return self._freight

    @contextmanager
    def sending(self, tree: Digest) -> Iterator[None]:
        """Let nobody else send the same tree meanwhile."""
        with self._door:
            lock = self._sending.setdefault(tree, Lock())
        with lock:
            yield

    def forget(self) -> None:
        """Forget what was sent: it is not there any more."""
        files.remove(self._memo)
        with self._door:
            if self._freight is not None:
                self._old.append(self._freight)  # others may be using it
                self._freight = None

    def close(self) -> None:
        """Close it. Who waits for an answer gets Cut."""
        self.link.close()
        if self._heavy is not None:
            self._heavy.close()
        for one in (*self._old, *([self._freight] if self._freight else [])):
            one.close()

    def forsake(self) -> None:
        """Give up what a fork has of it: it is that of the other process."""
        self.link.forsake()
        if self._heavy is not None:
            self._heavy.forsake()


class _TwoWays:
    """The Bucket of that machine, through the link that is right for an object."""

    def __init__(self, session: Session, *, before: Callable[[], None]) -> None:
        self._session = session
        self._before = before

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return `size` bytes from `start` (-1: all); None when there is no object."""
        is_large = not _HEAVY.isdisjoint(name.split("/"))
        there = self._there(is_large=is_large)
        return there.read(name, start=start, size=size, limit=limit)

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep `content` under `name`; with `fresh`, only where nothing is, else return False."""
        return self._there(is_large=len(content) > LIGHT).write(name, content, fresh=fresh)

    def names(self, prefix: str) -> Iterator[Object]:
        """Yield all objects whose names begin with `prefix`."""
        return self._there().names(prefix)

    def remove(self, names: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        self._there().remove(names)

    def close(self) -> None:
        """Do nothing: the links are their session's."""

    def _there(self, *, is_large: bool = False) -> FarBucket:
        link = self._session.heavy if is_large else self._session.link
        return FarBucket(link, before=self._before)
