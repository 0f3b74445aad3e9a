"""Follow: how a submitter hears of a run until it is over, whoever had it started."""

from collections.abc import Callable
from time import monotonic

from mlbuild.remote.bell import Bell
from mlbuild.remote.control import Control
from mlbuild.remote.outage import Outage
from mlbuild.remote.state import State

FIRST, LAST = 0.02, 0.5  # seconds between two looks, at the beginning and later
GROWTH = 1.1
ALIVE = 2.0  # seconds between two looks whether the runner lives
SILENCE = 12  # beats that may be missed, where nobody can look
FAREWELL = 20.0  # seconds that a run has to end when it is asked to


class Follower:
    """Follows the run of one order, also over several connections: its log has no gap or repeat."""

    def __init__(self, id_: str, *, log: str, bell: Bell) -> None:
        """Append what the command prints to the file `log`; `bell` says that it is to end."""
        self._id = id_
        self._log = log
        self._bell = bell
        self._attempt = ""
        self._pieces = 0  # of its log that we have

    def follow(
        self,
        control: Control,
        *,
        hear: Callable[[State], None],
        alive: Callable[[], bool],
    ) -> State:
        """Return the last state, once the run is over; `hear` gets each state before.

        `alive` says whether its runner lives, True where nobody can know. Raises Outage when the
        runner has gone without a word, and SharedTrouble.
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
                return state
            now = monotonic()
            if state.beat != beat:
                beat, since = state.beat, now
            elif now - since > SILENCE * state.every:
                raise _lost(state)
            elif now - looked > ALIVE:
                looked = now
                if not alive():
                    return self._last(control, hear)
            if self._bell.has_rung() and not asked:
                control.cancel(self._id)
                asked, pause = now, FIRST
            elif asked and now - asked > FAREWELL:
                raise Outage(f"the run on `{state.host}` does not end, though it was asked to")
            if asked:
                self._bell.pause(pause)
            else:
                self._bell.wait(pause)
            pause = min(LAST, pause * GROWTH)

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
                file.write(control.log(self._id, self._pieces) or b"")
                self._pieces += 1


def _lost(state: State | None) -> Outage:
    if state is None:
        return Outage("the run has vanished")
    return Outage(f"the runner on `{state.host}` (process {state.pid}) was killed or lost")
