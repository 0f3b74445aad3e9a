"""ServerJobs: the operations in a server that this machine has asked for, and their logs.

The API does not tell whose an operation is: only what stands in our book can be asked after.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlbuild.remote.jobs.book import Note
from mlbuild.remote.outage import Outage
from mlbuild.remote.reapi.log import Log
from mlbuild.remote.reapi.operation import METADATA, Verdict, verdict_of
from mlbuild.remote.reapi.outputs import brought
from mlbuild.remote.reapi.script import LATE, TOLD
from mlbuild.remote.reapi.session import Session
from mlbuild.remote.state import Fault, State
from mlbuild.shared import reapi_messages as wire

FIRST, LAST = 0.05, 0.5  # seconds between two looks, at the beginning and later
GROWTH = 1.2
CUTS = 6  # questions that may fail one after the other
BACK_OFF, LONGEST = 0.2, 10.0  # seconds before the next one; each later one waits twice as long
_SIGNAL, _SIGNALS = 128, 64  # a shell's way to tell a signal in an exit code


class ServerJobs:
    """The jobs of one server; `opened` gives the connections to it."""

    def __init__(self, where: str, opened: Callable[[], Session]) -> None:
        self.where = where
        self._opened = opened

    def found(self) -> Iterator[Note]:
        """Yield nothing: the API cannot be asked what is ours."""
        yield from ()

    def states(self, notes: Sequence[Note]) -> Mapping[str, State]:
        """Return how far jobs are, by the ids in the book."""
        asked = ((note, self._operation(note)) for note in notes if note.operation)
        return {note.id: self._state(note, found) for note, found in asked if found is not None}

    def follow(
        self,
        note: Note,
        *,
        print_: Callable[[bytes], None],
        hear: Callable[[State], None],
        over: Callable[[State], bool],
        tail: int | None = None,
    ) -> State | None:
        """Return the last state of a job once it is `over`; None when it is not known there."""
        printer = _Printer(print_, tail)
        log = Log(printer.add, self._opened().channel)
        try:
            return self._followed(note, log, printer, hear=hear, over=over)
        finally:
            log.close()
            printer.rest()

    def cancel(self, note: Note) -> None:
        """Ask the server to end a job."""
        session = self._opened()
        with session.troubles():
            session.channel.call(wire.CANCEL, wire.CANCEL.request(name=note.operation))

    def _followed(
        self,
        note: Note,
        log: Log,
        printer: "_Printer",
        *,
        hear: Callable[[State], None],
        over: Callable[[State], bool],
    ) -> State | None:
        pause, cuts = FIRST, 0
        while True:
            try:
                operation = self._operation(note)
                cuts = 0
            except Outage:
                cuts += 1
                if cuts > CUTS:
                    raise
                time.sleep(min(LONGEST, BACK_OFF * 2**cuts))
                continue
            if operation is None:
                return None
            log.follow(METADATA.FromString(operation.metadata.value))
            printer.pause()
            state = self._state(note, operation, log=log)
            hear(state)
            if state.over and over(state):
                return state
            time.sleep(pause)
            pause = min(LAST, pause * GROWTH)

    def _operation(self, note: Note) -> Any | None:
        """Return what the server says of an operation; None when it has forgotten it."""
        session = self._opened()
        with session.troubles():
            request = wire.OPERATION.request(name=note.operation)
            return session.channel.call(wire.OPERATION, request)

    def _state(self, note: Note, operation: Any, *, log: Log | None = None) -> State:
        """Return the state that an operation is; once it is over `log` gets what it printed."""
        stage = METADATA.FromString(operation.metadata.value).stage
        state = State(
            "queued" if stage == wire.QUEUED else "running",
            operation.name,
            note.label,
            note.key,
            self.where,
            job=f"operation {operation.name}",
            since=note.since,
        )
        return self._ended(state, verdict_of(operation), log=log) if operation.done else state

    def _ended(self, state: State, verdict: Verdict, *, log: Log | None) -> State:
        session = self._opened()
        with session.troubles():
            found = brought(verdict.result, session.blobs, told=TOLD)
        if log is not None:
            log.finish(found.printed)
        word = found.told.partition(" ")[0].strip()
        if verdict.code == "CANCELLED":
            return replace(state, phase="cancelled")
        if verdict.code != "OK" or word not in {"", LATE}:
            said = found.told.strip() or verdict.status.message or verdict.code
            fault = Fault("host", f"`{self.where}` did not execute it to its end: {said}")
            return replace(state, phase="failed", fault=fault)
        code = verdict.result.exit_code
        ended_by = code - _SIGNAL if _SIGNAL < code <= _SIGNAL + _SIGNALS else 0
        ended = {
            "exit_code": None if ended_by else code,
            "signal": ended_by,
            "timed_out": word == LATE,
            "seconds": found.seconds,
        }
        return replace(state, phase="ended", ended=ended)


class _Printer:
    """Prints a log from its beginning, or from the last `tail` lines of what there is by now."""

    def __init__(self, print_: Callable[[bytes], None], tail: int | None) -> None:
        self._print = print_
        self._tail = tail
        self._held = b""
        self._size = -1  # of what was held at the last pause

    def add(self, content: bytes) -> None:
        """Print `content`, or hold it back until it is known what the last lines are."""
        if self._tail is None:
            self._print(content)
        else:
            self._held += content

    def pause(self) -> None:
        """Take what has come for all there is, if nothing came since the last call."""
        if self._held and len(self._held) == self._size:
            self.rest()
        self._size = len(self._held)

    def rest(self) -> None:
        """Print the last lines of what was held back; what comes later is printed as it comes."""
        if self._tail is not None and self._held:
            lines = self._held.splitlines(keepends=True)
            self._print(b"".join(lines[len(lines) - min(self._tail, len(lines)) :]))
            self._held, self._tail = b"", None
