"""Plain: a build as lines of text, for files, pipes and continuous integration."""

import threading
import time
from collections.abc import Callable

from mlbuild.core.event import (
    ActionFailed,
    ActionFinished,
    ActionStarted,
    Event,
    Fetched,
    Fetching,
    Hashing,
    Uploading,
)
from mlbuild.ui.narrator import FEW, Narrator
from mlbuild.ui.terminal import Out
from mlbuild.ui.text import Paint, bytes_text, clean, plural, seconds_text

EVERY = 30.0  # seconds between signs of life


class Plain:
    """Writes one line for each action that ended, and a sign of life while nothing ends."""

    def __init__(
        self, out: Out, *, paint: Paint, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = out
        self._narrator = Narrator(paint)
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, float]] = {}  # id -> label, start
        self._told: dict[str, float] = {}  # when it was last told of what takes long
        self._over = threading.Event()
        self._pulse: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        with self._lock:
            match event:
                case ActionStarted() | Fetching():
                    self._running[event.id] = (event.owner, self._clock())
                case ActionFinished() | ActionFailed() | Fetched():
                    self._running.pop(event.id, None)
                case Hashing():
                    so_far = f"{plural(event.files, 'file')}, {bytes_text(event.bytes)}"
                    self._tell_sometimes("hashing source files", f"{so_far} so far")
                case Uploading():
                    so_far = f"{bytes_text(event.bytes)} so far"
                    left = f"{plural(event.results, 'result')} to go"
                    self._tell_sometimes("uploading", f"{so_far}, {left}")
                case _:
                    pass
            if lines := self._narrator.lines(event):
                self._out.lines(lines)
        if self._running and self._pulse is None:
            self._pulse = threading.Thread(target=self._beat, daemon=True)
            self._pulse.start()

    def _tell_sometimes(self, what: str, so_far: str) -> None:
        now = self._clock()
        if what not in self._told or now - self._told[what] >= EVERY:
            self._told[what] = now
            self._out.lines([f"{what}: {so_far}"])

    def tick(self) -> None:
        """Name what has been running for a while."""
        with self._lock:
            now = self._clock()
            long = [
                f"{clean(label)} ({seconds_text(now - start)})"
                for label, start in self._running.values()
                if now - start >= EVERY
            ]
            if long:
                more = f" and {len(long) - FEW} more" if len(long) > FEW else ""
                self._out.lines([f"still running: {', '.join(long[:FEW])}{more}"])

    def _beat(self) -> None:
        while not self._over.wait(EVERY):
            self.tick()

    def close(self) -> None:
        """Write nothing more."""
        self._over.set()
        if self._pulse is not None:
            self._pulse.join()
