"""Lookout: finds the jobs that are under way elsewhere, by label, by key or by executor."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlbuild.config import Config
from mlbuild.core.label import parse_label
from mlbuild.errors import HostError, InputError, MlbuildError, did_you_mean
from mlbuild.exec.base import Executor
from mlbuild.remote.jobs.book import Book, Note, book_of
from mlbuild.remote.jobs.under_way import ALIVE, LOST, Lasting, UnderWay
from mlbuild.remote.kinds import open_executor
from mlbuild.remote.parent import is_dying
from mlbuild.remote.state import State
from mlbuild.shared.base import SharedTrouble

SENDING = "sending"  # a phase beside those of a state: what the job reads is on its way
_HEX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A job as it was seen."""

    note: Note
    state: State

    @property
    def since(self) -> float:
        """Seconds since the epoch: when its runner began, or else when it was sent."""
        return self.state.since or self.note.since

    @property
    def is_alive(self) -> bool:
        """Say whether it may give an outcome yet."""
        return self.state.phase in ALIVE or self.state.phase == SENDING

    @property
    def is_pending(self) -> bool:
        """Say whether it goes on, or has an outcome that nobody took, or failed for us."""
        phase, fault = self.state.phase, self.state.fault
        tried = phase == "failed" and bool(fault) and bool(self.note.pid)
        return self.is_alive or tried or phase in {"ended", LOST}


@dataclass(frozen=True, slots=True)
class Silence:
    """An executor that could not be asked, and why."""

    executor: str
    reason: str


class Lookout:
    """Asks the executors of some settings; opens each one once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._book = book_of(config)
        self._opened: dict[str, Executor] = {}

    @property
    def book(self) -> Book:
        """The notes of the jobs that were started from here."""
        return self._book

    def look(
        self, *, executor: str = "", root: str = ""
    ) -> tuple[Sequence[Sighting], Sequence[Silence]]:
        """Return the jobs that are pending, the oldest first, and who does not answer.

        With `executor`, all that this user has there; else those that were started from here, with
        `root` by the workspace there.
        """
        notes = [
            note
            for note in self._book.notes()
            if (not executor or note.executor == executor) and root in {"", note.root}
        ]
        found: list[Sighting] = []
        silent: list[Silence] = []
        for name in sorted({executor} if executor else {note.executor for note in notes}):
            own = [note for note in notes if note.executor == name]
            try:
                found += self._sightings(name, own, whole=bool(executor))
            except (MlbuildError, SharedTrouble) as error:
                silent.append(Silence(name, error.message))
        pending = sorted(
            (one for one in found if one.is_pending), key=lambda one: (one.since, one.note.id)
        )
        return pending, silent

    def under_way(self, name: str) -> UnderWay:
        """Return the jobs of an executor; raise InputError for one that has none to ask after."""
        executor = self._executor(name)
        if not isinstance(executor, Lasting):
            described = self._config.executors[name]
            raise InputError(
                f"jobs of `{name}` end with their build: "
                f"the kind `{described.kind}` keeps none that could be asked after"
            )
        return executor.under_way()

    def sighting(self, note: Note) -> Sighting | None:
        """Look at one job again; None when it is not known there."""
        state = self.under_way(note.executor).states([note]).get(note.id)
        return Sighting(note, state) if state is not None else None

    def close(self) -> None:
        """Close what was opened."""
        for executor in self._opened.values():
            executor.close()
        self._opened.clear()

    def _sightings(self, name: str, notes: list[Note], *, whole: bool) -> Iterator[Sighting]:
        jobs = self.under_way(name)
        if others := [note for note in notes if note.where != jobs.where]:
            where = others[0].where
            notes = [note for note in notes if note.where == jobs.where]
            if not notes and not whole:
                raise HostError(f"it was `{where}` when jobs were started, and is `{jobs.where}`")
        if whole:
            known = {note.id for note in notes}
            notes += [note for note in jobs.found() if note.id not in known]
        states = jobs.states(notes)
        for note in notes:
            state = states.get(note.id)
            if state is not None:
                yield self._kept(Sighting(note, state))
            elif is_waited_for(note):
                yield Sighting(note, State(SENDING, ""))
            else:
                self._book.forget(note.id)

    def _kept(self, seen: Sighting) -> Sighting:
        """Forget the note of a job that nothing will come of any more."""
        if not seen.is_pending and not is_waited_for(seen.note):
            self._book.forget(seen.note.id)
        return seen

    def _executor(self, name: str) -> Executor:
        if name not in self._opened:
            described = self._config.executors.get(name)
            if described is None:
                known = tuple(self._config.executors)
                raise InputError(
                    f"no executor `{name}` is described in the settings",
                    hints=did_you_mean(name, known) or (f"write a table `[executors.{name}]`",),
                )
            self._opened[name] = open_executor(described, self._config, say=lambda _: None)
        return self._opened[name]


def is_waited_for(note: Note) -> bool:
    """Say whether the process that wrote a note lives, and so will take the outcome."""
    return bool(note.pid) and not is_dying(note.pid)


def chosen(word: str, among: Sequence[Sighting], *, package: str) -> list[Sighting]:
    """Return the jobs that `word` names: a label as seen from `package`, a key or an order.

    Of keys and orders the first six hex digits or more will do.
    """
    if _HEX.fullmatch(word):
        found = [
            one for one in among if one.note.key.startswith(word) or one.note.id.startswith(word)
        ]
        if found:
            return found
    label = str(parse_label(word, package=package))
    return [one for one in among if one.note.label == label]


def as_dict(seen: Sighting) -> dict[str, object]:
    """Return a job as `--json` shows it."""
    note, state = seen.note, seen.state
    return {
        "order": note.id,
        "key": note.key,
        "label": note.label,
        "executor": note.executor,
        "where": note.where,
        "host": state.host,
        "phase": state.phase,
        "waits": state.waits,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seen.since)),
        "seconds": round(seconds_of(seen), 1),
        "gpus": [{"uuid": gpu[0], "name": gpu[1]} for gpu in state.gpus],
        "attempt": state.attempt,
        "resumed": state.resumed,
        "pid": state.pid,
        "job": state.job,
        "log": state.log,
        "exit_code": state.ended.get("exit_code"),
        "message": state.fault.message if state.fault else "",
        "workspace": note.root,
    }


def seconds_of(seen: Sighting) -> float:
    """Return how long ago it began, or was sent, in seconds."""
    return max(0.0, time.time_ns() / 1e9 - seen.since)
