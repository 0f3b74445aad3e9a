"""Recent: what was learned lately, as much of it as may stay in memory."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, together no heavier than `room`; what was not used for longest goes first.

    Safe for many threads at once.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._door = Lock()

    def keep(self, key: K, value: V, *, weight: int) -> None:
        """Remember `value`, which weighs so many bytes."""
        with self._door:
            self._drop(key)
            self._held[key] = (value, weight)
            self._room -= weight
            while self._room < 0 and self._held:
                self._drop(next(iter(self._held)))

    def find(self, key: K) -> V | None:
        """Return what is remembered; None when nothing is."""
        with self._door:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def drop(self, key: K) -> None:
        """Forget what is remembered."""
        with self._door:
            self._drop(key)

    def _drop(self, key: K) -> None:
        if key in self._held:
            self._room += self._held.pop(key)[1]
