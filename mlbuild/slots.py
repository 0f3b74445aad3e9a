"""Slots: the CPUs and the memory that commands share. First come, first served.

Held while a command runs and no longer: what is prepared before it and kept after it overlaps with
other commands.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlbuild.errors import Interrupted


class Slots:
    """`cpus` CPUs and `memory` bytes."""

    def __init__(self, *, cpus: int, memory: int) -> None:
        self._all = self._free = (cpus, memory)
        self._line: deque[object] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def turn(self, *, cpus: int, memory: int, begin: Callable[[], None]) -> Iterator[None]:
        """Wait for what a command needs, call `begin`, hold it for the block.

        A command that asks for more than there is gets all of it. Raises Interrupted once closed.
        """
        wish = (min(cpus, self._all[0]), min(memory, self._all[1]))
        self._take(wish)
        try:
            begin()
            yield
        finally:
            with self._changed:
                self._free = (self._free[0] + wish[0], self._free[1] + wish[1])
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more; who waits is told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, wish: tuple[int, int]) -> None:
        me = object()
        with self._changed:
            self._line.append(me)
            try:
                while not self._closed and (
                    self._line[0] is not me or self._free[0] < wish[0] or self._free[1] < wish[1]
                ):
                    self._changed.wait()
            finally:
                self._line.remove(me)
            if self._closed:
                self._changed.notify_all()
                raise Interrupted("the build was interrupted")
            self._free = (self._free[0] - wish[0], self._free[1] - wish[1])
            self._changed.notify_all()
