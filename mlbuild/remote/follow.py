"""Follow: how a submitter hears of a run until it is over, whoever had it started."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate, pairwise
from time import monotonic
from typing import Any

from mlbuild.errors import HostError
from mlbuild.remote.bell import Bell
from mlbuild.remote.control import Control
from mlbuild.remote.outage import Outage
from mlbuild.remote.state import State, decode

FIRST, LAST = 0.02, 0.5  # seconds between two looks, at the beginning and later
GROWTH = 1.1
ALIVE = 2.0  # seconds between two looks whether the runner lives
SILENCE = 12  # beats that may be missed, where nobody can look
FAREWELL = 20.0  # seconds that a run has to end when it is asked to
WITHIN = 10.0  # seconds after which an agent answers anyway
SOON = 1.0  # likewise, where a run is to end

Ask = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], bytes]]


class Follower:
    """Follows the run of one order, also over several connections: its log has no gap or repeat."""

    def __init__(self, id_: str, *, log: str, bell: Bell) -> None:
        """Append what the command prints to the file `log`; `bell` says that it is to end."""
        self._id = id_
        self._log = log
        self._bell = bell
        self._attempt = ""
        self._pieces = 0  # of its log that we have
        self.heard = 0  # grows with all that is new

    def follow(
        self,
        control: Control,
        *,
        hear: Callable[[State], None],
        alive: Callable[[], bool],
        cancel: Callable[[], None] | None = None,
        seen: Callable[[], State | None] = lambda: None,
    ) -> State:
        """Return the last state, once the run is over; `hear` gets each state before.

        `alive` says whether its runner lives, True where nobody can know. `cancel` asks it to end,
        by a wish in the bucket unless said. `seen` returns the state as an engine knows it that
        schedules the run, None where there is none. Raises Outage when the runner has gone without
        a word, and SharedTrouble.
        """
        pause, beat, since, looked = FIRST, -1, monotonic(), monotonic()
        asked = 0.0
        while True:
            state = control.state(self._id)
            if state is None:
                raise Outage("the run has vanished")
            self._take_log(control, state)
            hear(state)
            if state.over:
                told = seen()  # an engine may start it again, or know better why it ended
                if told is None or told.over:
                    return told or state
            now = monotonic()
            if now - looked > ALIVE and (told := seen()) is not None:
                looked = since = now  # an engine knows better than a beat
                if told.over:
                    self._take_log(control, told)
                    return told
                hear(told)
            if state.beat != beat:
                beat, since = state.beat, now
                self.heard += 1
            elif now - since > SILENCE * state.every:
                raise _lost(state)
            elif now - looked > ALIVE:
                looked = now
                if not alive():
                    return self._last(control, hear)
            if self._bell.has_rung() and not asked:
                (cancel or partial(control.cancel, self._id))()
                asked, pause = now, FIRST
            elif asked and now - asked > FAREWELL:
                raise Outage(f"the run on `{state.host}` does not end, though it was asked to")
            if asked:
                self._bell.pause(pause)
            else:
                self._bell.wait(pause)
            pause = min(LAST, pause * GROWTH)

    def attend(
        self, ask: Ask, *, hear: Callable[[State], None], cancel: Callable[[], None]
    ) -> State:
        """Do as `follow`, by an agent that answers as soon as there is news.

        `ask` gets what is known and returns its answer; `cancel` asks the run to end.
        """
        beat, waits, since, asked = -1, "", monotonic(), 0.0
        while True:
            within = SOON if asked else WITHIN
            known = {"attempt": self._attempt, "beat": max(0, beat), "waits": waits}
            found, content = ask({**known, "pieces": self._pieces, "within": within})
            parts = _parts(content, found["sizes"])
            state = decode(parts[0]) if parts else None
            if state is None:
                raise Outage("the run has vanished")
            self._keep_log(state.attempt, parts[1:])
            hear(state)
            if state.over and (self._pieces >= state.chunks or len(parts) == 1):
                return state
            if found["gone"]:
                raise _lost(state)
            now = monotonic()
            if state.beat != beat:
                since = now
                self.heard += 1
            elif now - since > SILENCE * state.every:
                raise _lost(state)
            beat, waits = state.beat, state.waits
            if self._bell.has_rung() and not asked:
                cancel()
                asked = now
            elif asked and now - asked > FAREWELL:
                raise Outage(f"the run on `{state.host}` does not end, though it was asked to")

    def _keep_log(self, attempt: str, pieces: list[bytes]) -> None:
        """Append the next pieces of the log."""
        if attempt != self._attempt:
            self._attempt, self._pieces = attempt, 0
        if pieces:
            with open(self._log, "ab") as file:
                file.writelines(pieces)
            self._pieces += len(pieces)

    def _last(self, control: Control, hear: Callable[[State], None]) -> State:
        """Return the last word of a runner that has gone."""
        state = control.state(self._id)
        if state is None or not state.over:
            raise _lost(state)
        self._take_log(control, state)
        hear(state)
        return state

    def _take_log(self, control: Control, state: State) -> None:
        """Append what the command has printed since."""
        if state.attempt != self._attempt:
            self._attempt, self._pieces = state.attempt, 0
        if state.chunks <= self._pieces:
            return
        with open(self._log, "ab") as file:
            while self._pieces < state.chunks:
                piece = control.log(self._id, self._pieces)
                if piece is None:
                    file.write(b"mlbuild: a part of the log is missing\n")
                    self._pieces = state.chunks
                    return
                file.write(piece)
                self._pieces += 1


def _lost(state: State | None) -> Outage:
    if state is None:
        return Outage("the run has vanished")
    return Outage(f"the runner on `{state.host}` (process {state.pid}) was killed or lost")


def _parts(content: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    """Return the parts of an answer that have these sizes."""
    if sum(sizes) != len(content):
        raise HostError("an answer has other parts than it says")
    return [content[begin:end] for begin, end in pairwise(accumulate(sizes, initial=0))]
