"""Progress: how far long work has come, told now and then."""

import time
from collections.abc import Callable

PATIENCE = 0.5  # seconds of work before anything is told
EVERY = 0.2  # seconds between two words


class Progress:
    """Counts files and bytes; calls `tell` with both once that has been going on for a while."""

    def __init__(
        self, tell: Callable[[int, int], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._files = 0
        self._bytes = 0
        self._next = clock() + PATIENCE

    def add(self, files: int, size: int) -> None:
        """Count `files` more, and `size` bytes."""
        self._files += files
        self._bytes += size
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            self._tell(self._files, self._bytes)
