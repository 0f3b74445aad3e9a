"""Polling: an alarm for where the kernel tells nothing: it looks at everything again and again."""

from collections.abc import Callable
from threading import Event
from time import monotonic

from mlbuild.watch.alarm import LONGEST, QUIET
from mlbuild.watch.footing import Footing
from mlbuild.watch.looks import Looks, looks_of

EVERY = 1.0  # seconds between two looks
SHARE = 20  # a look that takes long is taken less often: one part in so many of the time


class Polling:
    """Rings when something looks different."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._footing: Footing | None = None
        self._looks: Looks = {}
        self._cost = 0.0  # seconds that the last look took
        self._never = Event()

    def follow(self, footing: Footing) -> bool:
        """Look at `footing` from now on; say whether it is new."""
        if footing == self._footing:
            return False
        self._footing = footing
        self._look()
        return True

    def _look(self) -> bool:
        """Look at everything; say whether it differs from the last time."""
        assert self._footing is not None
        started, before = self._clock(), self._looks
        self._looks = looks_of(self._footing)
        self._cost = self._clock() - started
        return self._looks != before

    def wait(self, seconds: float) -> bool:
        """Wait for a change, at most `seconds`, and for the end of its burst."""
        end = self._clock() + seconds
        while not self._look():
            left = end - self._clock()
            if left <= 0:
                return False
            self._never.wait(min(left, max(EVERY, self._cost * SHARE)))
        end = self._clock() + LONGEST
        while self._clock() < end:
            self._never.wait(QUIET)
            if not self._look():
                break
        return True

    def count(self) -> int:
        """Return how many folders are looked at."""
        return len(self._footing.folders()) if self._footing else 0

    def close(self) -> None:
        """Nothing is held."""
