"""Gate: what a store does, and what a collection removes, each at a time of its own.

Any number of operations go on together, of all processes. A collection looks at one thing and
removes it while none goes on: so what an operation finds at its beginning is there at its end. The
lock is a flock, which the kernel opens when its holder dies.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Gate:
    """The gate of the store at `root`, for all threads of one process; a fork makes its own."""

    def __init__(self, root: str) -> None:
        self._path = f"{root}/locks/collection"
        self._door = Lock()
        self._inside = 0  # threads
        self._fd = -1

    def __enter__(self) -> None:
        """Begin an operation; it must not begin another one for a collection."""
        with self._door:
            if not self._inside:
                if self._fd < 0:
                    self._fd = self._opened()
                fcntl.flock(self._fd, fcntl.LOCK_SH)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        """End an operation."""
        with self._door:
            self._inside -= 1
            if not self._inside:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no operation goes on, and keep others from beginning."""
        fd = self._opened()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _opened(self) -> int:
        try:
            return os.open(self._path, _OPEN, 0o600)
        except FileNotFoundError:  # somebody removed the folder
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            return os.open(self._path, _OPEN, 0o600)

    def close(self) -> None:
        """Give back what it holds."""
        with self._door:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
