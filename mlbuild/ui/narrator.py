"""Narrator: the lines that events leave behind, the same on a terminal and in a file."""

from typing import assert_never

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
from mlbuild.ui.diagnose import failure_lines, hint_lines
from mlbuild.ui.summary import metric_words
from mlbuild.ui.text import Paint, clean, clean_log, on_machine, seconds_text

MAX_GATES = 50  # lines of a gate's log
FEW = 3  # of many things, how many are named
UNSEALED = "hermetic: false"


class Narrator:
    """Says each thing once."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._said: set[str] = set()
        self._executor = ""  # of the build

    def lines(self, event: Event) -> list[str]:
        """Return the lines, without their ends, that `event` leaves on the screen."""
        match event:
            case ActionFinished():
                return self._finished(event)
            case ActionFailed():
                return failure_lines(event, self._paint, executor=self._executor)
            case ActionWaiting():
                label = clean(event.owner)
                return [f"{label}  another mlbuild runs this; waiting for its result"]
            case GpuAwaited():
                if not event.holders and event.gpus in self._said:
                    return []  # the queue of another machine, where many wait for the same
                self._said.add(event.gpus)
                held = f": lent to {clean(event.holders)}" if event.holders else ""
                return [f"{clean(event.owner)}  waits for {clean(event.gpus)}{held}"]
            case Warned():
                return self._warned(event.message, event.hints)
            case BuildStarted():
                self._executor = event.executor
                return []
            case (
                PlanReady()
                | Hashing()
                | ActionStarted()
                | ActionSkipped()
                | Fetching()
                | Fetched()
                | Uploading()
                | WouldRun()
                | BuildFinished()
            ):
                return []
            case _:
                assert_never(event)

    def _finished(self, event: ActionFinished) -> list[str]:
        lines: list[str] = []
        label, result = clean(event.owner), event.result
        if event.ran:
            # A repetition that gave the same is told by what the first one left, made anywhere.
            where = on_machine(self._executor) if result.executor == self._executor else ""
            ran = f"ran{where} in {seconds_text(result.seconds)}"
            words = [label, clean(event.mnemonic), ran]
            lines.append("  ".join(words + metric_words(result.metrics or {}, FEW)))
            if event.mnemonic == "gate":
                lines += [f"  {line}" for line in _log_lines(event.log, MAX_GATES)]
            if result.undeclared:
                lines += self._warned(
                    f"{event.owner} wrote what it does not declare, so it was not kept: "
                    f"{_some(result.undeclared)}"
                )
        if event.note:
            lines += self._warned(f"{event.owner}: {event.note}")
        if not result.hermetic and not any(UNSEALED in said for said in self._said):
            lines += self._warned(
                f"results are marked {UNSEALED}: they ran without a sandbox and are not shared"
            )
        return lines

    def _warned(self, message: str, hints: tuple[str, ...] = ()) -> list[str]:
        if message in self._said:
            return []
        self._said.add(message)
        first = f"{self._paint('yellow', 'warning')}: {clean(message)}"
        return [first, *hint_lines(hints, self._paint)]


def _some(paths: tuple[str, ...]) -> str:
    shown = ", ".join(clean(path) for path in paths[:FEW])
    return f"{shown} and {len(paths) - FEW} more" if len(paths) > FEW else shown


def _log_lines(path: str, limit: int) -> list[str]:
    """Return the first lines of a log; none when it is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [clean_log(line) for line in file.read(1 << 16).splitlines()[:limit]]
    except OSError:
        return []
