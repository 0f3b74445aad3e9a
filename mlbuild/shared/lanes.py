"""Lanes: threads that carry pieces, and a bound on the bytes that all of them hold at once."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")

_MEMORY = ((-8, 1), (-3, 32 << 20), (-1, 256 << 20))  # M_ARENA_MAX, …MMAP_… and M_TRIM_THRESHOLD

THREADS = 16
ROOM = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Errand(Generic[T]):
    """Something to be done in a lane, and the bytes that it and its answer hold at most."""

    run: Callable[[], T]
    cost: int


class Lanes:
    """A pool of threads with so many bytes of room. Serves any number of callers at once."""

    def __init__(self, *, threads: int = THREADS, room: int = ROOM) -> None:
        _share_memory()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lane")
        self._room = room
        self._used = 0
        self._freed = Condition()

    def in_order(self, errands: Iterator[Errand[T]]) -> Generator[T, None, None]:
        """Yield the answers of errands in their order; as many as have room run at once.

        The first error ends it, and is raised when no errand of this caller runs any more.
        """
        running: deque[tuple[Future[T], int]] = deque()
        try:
            for errand in errands:
                while not self._take(errand.cost, wait=not running):
                    yield self._next(running)
                running.append((self._pool.submit(errand.run), errand.cost))
                del errand  # else it lives until the next one is there
                while running and running[0][0].done():
                    yield self._next(running)
            while running:
                yield self._next(running)
        finally:
            for future, _ in running:
                future.cancel()
            for future, cost in running:
                if not future.cancelled():
                    future.exception()  # waits for it
                self._give(cost)

    def all(self, errands: Iterator[Errand[T]]) -> list[T]:
        """Return the answers of errands in their order."""
        return list(self.in_order(errands))

    def _next(self, running: "deque[tuple[Future[T], int]]") -> T:
        """Return the answer of the oldest errand. Its bytes count until they are the caller's."""
        future, cost = running.popleft()
        try:
            return future.result()
        finally:
            self._give(cost)

    def _take(self, cost: int, *, wait: bool) -> bool:
        """Take room; say whether there was any. What is larger than all of it has it alone."""
        with self._freed:
            while self._used and self._used + cost > self._room:
                if not wait:
                    return False
                self._freed.wait()
            self._used += cost
            return True

    def _give(self, cost: int) -> None:
        with self._freed:
            self._used -= cost
            self._freed.notify_all()

    def close(self) -> None:
        """End the threads once they are idle."""
        self._pool.shutdown(cancel_futures=True)


def _share_memory() -> None:
    """Let all threads take the memory for pieces from one place, and use it again.

    Else each keeps an arena full of holes, or has the system clear new pages for every piece: half
    as much memory again, and a third more CPU.
    """
    import ctypes  # noqa: PLC0415 - 3 ms that only a process that moves bytes pays

    with suppress(AttributeError, OSError):  # a C library that has no such settings
        library = ctypes.CDLL(None)
        for option, value in _MEMORY:
            library.mallopt(option, value)
