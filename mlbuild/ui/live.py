"""Live: a build on a terminal. What ended scrolls by; below it stands what runs, redrawn in place.

The scheduler's thread only notes what happened. A thread of its own draws, ten times a second at
most. It loads the drawing library only when something has been running for a moment, so that quick
builds never wait for it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from mlbuild.core.event import (
    ActionFailed,
    ActionFinished,
    ActionSkipped,
    ActionStarted,
    ActionWaiting,
    BuildFinished,
    BuildStarted,
    Event,
    Fetched,
    Fetching,
    GpuAwaited,
    Hashing,
    PlanReady,
    Uploading,
    Warned,
    WouldRun,
)
from mlbuild.ui.narrator import Narrator
from mlbuild.ui.terminal import Out, Terminal, size_of
from mlbuild.ui.text import Paint, bytes_text, clean, clean_log, on_machine, plural, seconds_text

TICK = 0.1  # seconds between two drawings
PATIENCE = 0.3  # seconds before anything is drawn in place
LOG_END = 4096  # bytes of a log in which its last line is looked for


@dataclass(frozen=True, slots=True)
class Row:
    """An action that runs, or waits for another process that runs it."""

    label: str
    mnemonic: str
    start: float
    log: str


class Live:
    """Shows a build on a terminal."""

    def __init__(
        self,
        out: Out,
        *,
        terminal: Terminal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._terminal = terminal
        self._clock = clock
        self._paint = Paint(terminal.color)
        self._narrator = Narrator(self._paint)
        self._lock = threading.Lock()  # guards the four below
        self._rows: dict[str, Row] = {}
        self._counts = {"ended": 0, "failed": 0, "skipped": 0, "actions": 0}
        self._status = ""
        self._where = ""  # of what runs, where that is not here
        self._lines: list[str] = []  # said, not yet written
        self._start = clock()
        self._over = threading.Event()
        self._region: _Region | None = None
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        with self._lock:
            self._note(event)
            self._lines += self._narrator.lines(event)
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw_on, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Remove what stands below, write what is left to say."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._region is not None:
            self._region.close()
            self._region = None
        self._out.lines(self._taken())

    def _note(self, event: Event) -> None:
        match event:
            case PlanReady():
                self._counts["actions"] = event.actions
                self._status = ""
            case Hashing():
                self._status = f"hashing {plural(event.files, 'file')}, {bytes_text(event.bytes)}"
            case ActionStarted():
                self._status = ""
                does = f"{event.mnemonic}{self._where}"
                self._rows[event.id] = Row(event.owner, does, self._clock(), event.log)
            case ActionWaiting():
                self._rows[event.id] = Row(event.owner, "waits", self._clock(), "")
            case GpuAwaited():
                self._rows[event.id] = Row(
                    event.owner, f"waits for {event.gpus}", self._clock(), ""
                )
            case Fetching():
                self._rows[event.id] = Row(event.owner, "is fetched", self._clock(), "")
            case Fetched():
                self._rows.pop(event.id, None)
            case Uploading():
                results = plural(event.results, "result")
                self._status = f"uploading {results}, {bytes_text(event.bytes)} sent"
            case ActionFinished():
                self._end(event.id, "ended")
            case ActionFailed():
                self._end(event.id, "failed")
            case ActionSkipped():
                self._end(event.id, "skipped")
            case BuildStarted():
                self._status = "loading"
                self._where = on_machine(event.executor)
            case BuildFinished():
                self._rows.clear()
                self._status = ""
            case Warned() | WouldRun():
                pass
            case _:
                assert_never(event)

    def _end(self, id_: str, count: str) -> None:
        self._rows.pop(id_, None)
        self._counts[count] += 1
        self._status = ""

    def _draw_on(self) -> None:
        while not self._over.wait(TICK):
            self.draw()

    def draw(self) -> None:
        """Write what was said since the last drawing, and show what runs."""
        with self._lock:
            rows = list(self._rows.values())
        lines, now = self._taken(), self._clock()
        if self._region is None:
            self._out.lines(lines)
            lines = []
            if now - self._start < PATIENCE or not (rows or self._status):
                return
            from mlbuild.ui.region import Region  # noqa: PLC0415 - start-up: rich takes 60 ms

            self._region = Region(self._out, self._terminal)
        columns, height = size_of(self._out.stream, self._terminal)
        self._region.draw(lines, self._view(rows, now, height), size=(columns, height))

    def _taken(self) -> list[str]:
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def _view(self, rows: list[Row], now: float, height: int) -> list[str]:
        """Return the lines that stand below: what runs, the oldest first, and the counts."""
        room = max(height - 3, 1)
        view = [self._row(row, now) for row in rows[:room]]
        if len(rows) > room:
            view.append(f"  and {len(rows) - room} more")
        counts = self._counts
        ended = counts["ended"] + counts["failed"] + counts["skipped"]
        words = [self._status] if self._status else []
        if counts["actions"]:
            words.append(f"{ended:,} of {plural(counts['actions'], 'action')}")
        words += [f"{counts[word]:,} {word}" for word in ("failed", "skipped") if counts[word]]
        words.append(seconds_text(now - self._start))
        return [*view, self._paint("dim", " · ".join(words))]

    def _row(self, row: Row, now: float) -> str:
        start = f"  {clean(row.label)}  {clean(row.mnemonic)}  {seconds_text(now - row.start)}"
        end = last_line(row.log) if row.log else ""
        return f"{start}  {self._paint('dim', end)}" if end else start


def last_line(path: str) -> str:
    """Return the last line of a log that is not empty; "" when there is none yet."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LOG_END))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    for line in reversed(text.split("\n")):
        if shown := clean_log(line).strip():
            return shown
    return ""


class _Region(Protocol):
    """The lines at the bottom of the terminal."""

    def draw(self, lines: list[str], view: list[str], *, size: tuple[int, int]) -> None: ...

    def close(self) -> None: ...
