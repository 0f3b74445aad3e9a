"""Breaker: after a few failures in a row nothing is tried for a while."""

import threading
import time
from collections.abc import Callable

FAILURES = 3  # in a row
LOST_SECONDS = 10.0  # in a row; an attempt on a dead network takes long
REST_SECONDS = 30.0  # the first time; it doubles with each trial …
LONGEST_REST = 600.0


class Breaker:
    """Knows whether it makes sense to ask. Safe for many threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._lost = 0.0  # seconds
        self._rest = REST_SECONDS
        self._closed_until: float | None = None  # None: open for everybody

    def admits(self) -> bool:
        """Say whether to try; after a rest that is so for one of all who ask."""
        with self._lock:
            if self._closed_until is None:
                return True
            now = self._clock()
            if now < self._closed_until:
                return False
            self._rest = min(2 * self._rest, LONGEST_REST)  # unless this one works
            self._closed_until = now + self._rest
            return True

    def worked(self) -> None:
        """Hear that an attempt went well."""
        with self._lock:
            self._failures, self._lost = 0, 0.0
            self._rest, self._closed_until = REST_SECONDS, None

    def failed(self, seconds: float, *, final: bool = False) -> None:
        """Hear that an attempt failed after so many seconds; a `final` failure needs no second."""
        with self._lock:
            if self._closed_until is not None:
                return  # the trial, or one that began before: it rests already
            self._failures += 1
            self._lost += seconds
            if final or self._failures >= FAILURES or self._lost >= LOST_SECONDS:
                self._closed_until = self._clock() + self._rest
