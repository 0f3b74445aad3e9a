"""Following: shows a log while it is written, and says how its job ends."""

import json
import os
from collections.abc import Callable
from time import sleep

from mlbuild.cli.session import Screen
from mlbuild.errors import ActionError, HostError, InputError, Interrupted
from mlbuild.remote.jobs.lookout import Lookout, Sighting, as_dict, is_waited_for
from mlbuild.remote.jobs.under_way import LOST
from mlbuild.remote.state import State
from mlbuild.ui.text import clean, clean_log, seconds_text

_LONGEST = 1 << 20  # bytes of a line that is shown before its end has come
_PIECE = 1 << 16  # bytes of a file that are read at once
_PAUSE = 0.1  # seconds between two looks at a file


class Printer:
    """Prints a log line by line on stdout, without colours and control characters."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._rest = b""

    def add(self, content: bytes) -> None:
        """Print the lines that `content` ends."""
        whole, newline, self._rest = (self._rest + content).rpartition(b"\n")
        if newline:
            self._show(whole)
        if len(self._rest) > _LONGEST:
            self.finish()

    def finish(self) -> None:
        """Print a last line without an end."""
        if self._rest:
            self._show(self._rest)
            self._rest = b""

    def _show(self, lines: bytes) -> None:
        text = lines.decode("utf-8", "replace")
        self._screen.out.lines([clean_log(line) for line in text.split("\n")])


def print_file(path: str, screen: Screen, *, goes_on: Callable[[], bool]) -> None:
    """Print a file from its beginning, as long as it `goes_on`; one that is cut begins anew."""
    printer = Printer(screen)
    with open(path, "rb", buffering=0) as file:
        while True:
            last = not goes_on()  # before the look: what is written then is still shown
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            while piece := file.read(_PIECE):
                printer.add(piece)
            if last:
                break
            sleep(_PAUSE)
    printer.finish()


def follow(seen: Sighting, lookout: Lookout, screen: Screen, *, tail: int | None) -> int:
    """Print the log of a job on stdout until it ends; return 0 when that was a success.

    Ctrl-C leaves the job alone. Raises the error that kept it from ending by itself.
    """
    printer = Printer(screen)
    state = _awaited(seen, lookout, screen, print_=printer.add, tail=tail)
    printer.finish()
    _check(seen, state)
    screen.err.lines([clean(_ending(seen, state, lookout))])
    return 0 if _is_success(state) else ActionError.exit_code


def await_end(seen: Sighting, lookout: Lookout, screen: Screen) -> int:
    """Wait for the end of a job, and print it as JSON; return 0 when that was a success."""
    state = _awaited(seen, lookout, screen, print_=lambda _: None, tail=0)
    screen.out.lines([json.dumps(as_dict(Sighting(seen.note, state)))])
    _check(seen, state)
    return 0 if _is_success(state) else ActionError.exit_code


def _awaited(
    seen: Sighting,
    lookout: Lookout,
    screen: Screen,
    *,
    print_: Callable[[bytes], None],
    tail: int | None,
) -> State:
    note = seen.note
    teller = _Teller(screen)
    try:
        state = lookout.under_way(note.executor).follow(
            note,
            print_=print_,
            hear=teller.hear,
            over=lambda state: _is_final(state, note.id, lookout),
            tail=tail,
        )
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"`{note.label}` goes on on `{note.where}` without us",
            hints=(f"`mlbuild attach {note.id[:12]}` comes back to it",),
        ) from stop
    if state is None:
        raise InputError(f"the job of `{note.label}` is not known on `{note.where}` any more")
    return state


class _Teller:
    """Says on stderr what becomes of a job, each thing once."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._said = ""

    def hear(self, state: State) -> None:
        """Say what is new."""
        said = _standing(state)
        if said and said != self._said:
            self._said = said
            self._screen.err.lines([clean(f"mlbuild: {said}")])


def _standing(state: State) -> str:
    """Say how far a job is that goes on; "" where its end is told elsewhere."""
    if state.phase == "queued":
        return f"it waits for {state.waits}" if state.waits else "it waits"
    if state.phase == "running":
        gpus = ", ".join(f"{gpu[1]} ({gpu[0]})" for gpu in state.gpus)
        resumed = ", from its checkpoint" if state.resumed else ""
        return f"it runs on `{state.host}`{f', with {gpus}' if gpus else ''}{resumed}"
    if state.phase == LOST:
        return f"its runner on `{state.host}` was killed or lost"
    return f"{state.fault.message}" if state.fault else ""


def _is_final(state: State, id_: str, lookout: Lookout) -> bool:
    """Say whether nobody will try the job again: a submitter that lives does, after an outage."""
    if state.phase != LOST and not (state.fault and state.fault.kind in {"outage", "lacking"}):
        return True
    note = lookout.book.note(id_)
    return note is None or not is_waited_for(note)


def _check(seen: Sighting, state: State) -> None:
    """Raise what kept a job from an end of its own."""
    label, where = seen.note.label, seen.note.where
    if state.phase == "cancelled":
        raise Interrupted(f"`{label}` was cancelled on `{where}`")
    if state.phase == LOST:
        raise HostError(
            f"the runner of `{label}` on `{where}` was killed or lost",
            hints=(_again(seen),),
        )
    if state.fault:
        kind = InputError if state.fault.kind == "input" else HostError
        raise kind(f"`{label}`: {state.fault.message}", hints=state.fault.hints)


def _is_success(state: State) -> bool:
    ended = state.ended
    bad = ended.get("timed_out") or ended.get("out_of_memory") or ended.get("interrupted")
    return ended.get("exit_code") == 0 and not bad


def _ending(seen: Sighting, state: State, lookout: Lookout) -> str:
    """Say how a job ended, and what comes next."""
    note, ended = seen.note, state.ended
    took = seconds_text(float(ended.get("seconds", 0.0)))
    how = f"ended with exit code {ended.get('exit_code')}"
    if ended.get("timed_out"):
        how = "was ended after its timeout"
    elif ended.get("out_of_memory"):
        how = "took too much memory"
    elif ended.get("signal"):
        how = f"was ended by signal {ended['signal']}"
    elif _is_success(state):
        how = "ended with success"
    left = lookout.book.note(note.id)
    waited = left is None or is_waited_for(left)
    next_ = "" if waited else f": {_again(seen)}"
    return f"`{note.label}` {how} on `{note.where}` after {took}{next_}"


def _again(seen: Sighting) -> str:
    note = seen.note
    if not note.key:
        return "it repeated what was known, and whoever wanted that has gone"
    return f"`mlbuild {note.label} --executor {note.executor}` takes it from there"
