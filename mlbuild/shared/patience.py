"""Patience: how often something far away is tried again, and how long is waited in between."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from mlbuild.shared.base import Bucket, Object, SharedTrouble

T = TypeVar("T")
WORTH_IT = frozenset({"unreachable", "slow"})  # kinds of trouble that may pass
_FIRST = {"unreachable": 0.2, "slow": 1.0}  # seconds, at most, before the second attempt
_LONGEST = 5.0  # seconds between two attempts


class GivenUp(SharedTrouble):
    """Trouble that has been tried again often enough: nobody further up tries once more."""


def _fair() -> float:
    """Return a number from 0 to 1, another one on each machine."""
    return int.from_bytes(os.urandom(4), "little") / (1 << 32)


@dataclass(frozen=True, slots=True)
class Patience:
    """At most `attempts`, none of which begins later than `seconds` after the first.

    The waits double, and each is a random part of itself: a server that comes back is not met by
    everybody at once.
    """

    attempts: int = 4
    seconds: float = 20.0
    jitter: Callable[[], float] = _fair
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def tried(self, act: Callable[[], T]) -> T:
        """Return what `act` returns. Trouble that does not pass is raised: as GivenUp if tried."""
        started = self.clock()
        for attempt in range(1, self.attempts + 1):
            try:
                return act()
            except GivenUp:
                raise
            except SharedTrouble as trouble:
                if trouble.kind not in WORTH_IT:
                    raise
                if attempt == self.attempts or self.clock() - started >= self.seconds:
                    raise GivenUp(trouble.kind, trouble.message, cure=trouble.cure) from trouble
                wait = min(_FIRST[trouble.kind] * 2 ** (attempt - 1), _LONGEST)
            self.sleep(wait * self.jitter())
        raise AssertionError("the last attempt returns or raises")


class PatientBucket:
    """A Bucket each request of which is tried again when it fails.

    A tree is moved with many requests: one that fails must not begin all of them anew.
    """

    def __init__(self, bucket: Bucket, patience: Patience) -> None:
        self._bucket = bucket
        self._patience = patience

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return bytes of an object; None when there is none."""
        return self._patience.tried(
            lambda: self._bucket.read(name, start=start, size=size, limit=limit)
        )

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep `content`; False also when a first attempt kept it and its answer was lost."""
        return self._patience.tried(lambda: self._bucket.write(name, content, fresh=fresh))

    def names(self, prefix: str) -> Iterator[Object]:
        """Yield all objects of a prefix, none before the last is known."""
        yield from self._patience.tried(lambda: list(self._bucket.names(prefix)))

    def remove(self, names: list[str]) -> None:
        """Remove objects."""
        self._patience.tried(lambda: self._bucket.remove(names))

    def close(self) -> None:
        """Give back connections."""
        self._bucket.close()
