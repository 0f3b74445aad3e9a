"""FarJobs: the jobs on a machine that an executor reaches by links, whoever started them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from time import sleep
from typing import Any, Protocol

from mlbuild.remote.control import Control
from mlbuild.remote.jobs.book import Note
from mlbuild.remote.jobs.under_way import ALIVE, LOST, TAKEN
from mlbuild.remote.link.link import Link
from mlbuild.remote.outage import Cut
from mlbuild.remote.state import State, decode

FIRST, LAST = 0.05, 0.5  # seconds between two looks, at the beginning and later
GROWTH = 1.2
CUTS = 6  # connections that may be lost one after the other without anything new heard
BACK_OFF, LONGEST = 1.0, 30.0  # seconds before a new connection; each later one waits twice as long


class Connection(Protocol):
    """What a connection to the machine offers."""

    link: Link
    control: Control


class FarJobs:
    """The jobs of one machine. `connected` yields a connection that nobody else uses meanwhile.

    `words` go with each question to the agent: they say what its runners are started by.
    """

    def __init__(
        self,
        executor: str,
        where: str,
        *,
        connected: Callable[[], AbstractContextManager[Connection]],
        words: Mapping[str, Any],
    ) -> None:
        self.where = where
        self._executor = executor
        self._connected = connected
        self._words = dict(words)

    def found(self) -> Iterator[Note]:
        """Yield a note for each job that this user has there, whoever started it."""
        with self._connected() as connection:
            for row, state in self._rows([], connection):
                id_, label, key = row[:3]
                yield Note(id_, label, key, self._executor, self.where, state.since)

    def states(self, notes: Sequence[Note]) -> Mapping[str, State]:
        """Return how far jobs are, by the ids of their orders."""
        if not notes:
            return {}
        with self._connected() as connection:
            rows = self._rows([note.id for note in notes], connection)
            return {row[0]: state for row, state in rows}

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
        reader = _Reader(note.id, print_, tail=tail)
        cuts = 0
        while True:
            try:
                with self._connected() as connection:
                    return self._followed(note.id, connection, reader, hear=hear, over=over)
            except Cut:
                cuts = 0 if reader.has_news() else cuts + 1
                if cuts > CUTS:
                    raise
                sleep(min(LONGEST, BACK_OFF * 2**cuts))

    def cancel(self, note: Note) -> None:
        """Ask a job to end; one whose runner is dead has ended."""
        with self._connected() as connection:
            connection.link.ask("cancel", {**self._words, "id": note.id})
            for _, state in self._rows([note.id], connection):
                if state.phase == LOST:
                    connection.control.tell(note.id, replace(state, phase="cancelled"))

    def _rows(
        self, ids: list[str], connection: Connection
    ) -> Iterator[tuple[tuple[str, ...], State]]:
        """Yield what the agent says of orders, of all where none is named."""
        found, _ = connection.link.ask("states", {**self._words, "ids": ids})
        for row in found["rows"]:
            *texts, alive, taken = row
            state = decode(texts[3].encode())
            if state is not None and state.phase == "ended" and taken:
                yield tuple(texts), replace(state, phase=TAKEN)
            elif state is not None:
                lost = not state.over and not alive
                yield tuple(texts), replace(state, phase=LOST) if lost else state

    def _followed(
        self,
        id_: str,
        connection: Connection,
        reader: "_Reader",
        *,
        hear: Callable[[State], None],
        over: Callable[[State], bool],
    ) -> State | None:
        pause, sign = FIRST, ("", -1)
        while True:
            state = next((one for _, one in self._rows([id_], connection)), None)
            if state is None:
                return None
            if (state.attempt, state.beat) != sign:
                sign, pause = (state.attempt, state.beat), FIRST
            reader.read(connection.control, state)
            hear(state)
            if state.phase not in ALIVE and over(state):
                return state
            sleep(pause)
            pause = min(LAST, pause * GROWTH)


class _Reader:
    """Reads the log of a job in pieces, over several connections and attempts."""

    def __init__(self, id_: str, print_: Callable[[bytes], None], *, tail: int | None) -> None:
        self._id = id_
        self._print = print_
        self._tail = tail
        self._attempt = ""
        self._pieces = 0  # that have been read
        self._news = False

    def has_news(self) -> bool:
        """Say whether anything was read since this was asked."""
        news, self._news = self._news, False
        return news

    def read(self, control: Control, state: State) -> None:
        """Print what has been printed since."""
        if state.attempt != self._attempt:
            self._attempt, self._pieces = state.attempt, 0
        if self._tail is not None and state.chunks:
            self._begin(control, state.chunks, self._tail)
        while self._pieces < state.chunks:
            piece = control.log(self._id, self._pieces)
            self._pieces += 1
            self._news = True
            if piece:
                self._print(piece)

    def _begin(self, control: Control, chunks: int, lines: int) -> None:
        """Print the last `lines` of what there is, and leave the rest out."""
        held: list[bytes] = []
        first = chunks
        while first and b"".join(held).count(b"\n") <= lines:
            first -= 1
            held.insert(0, control.log(self._id, first) or b"")
        whole = b"".join(held).splitlines(keepends=True)
        self._pieces, self._tail = chunks, None
        if whole and lines:
            self._print(b"".join(whole[-lines:]))
