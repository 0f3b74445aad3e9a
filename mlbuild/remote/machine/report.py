"""Report: tells the state and the log of one run while it goes on, and hears when it is to end."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlbuild import __version__
from mlbuild.errors import HostError
from mlbuild.remote.control import PIECE, Control
from mlbuild.remote.order import Order
from mlbuild.remote.state import Fault, State
from mlbuild.shared.base import SharedTrouble

EVERY = 5.0  # seconds between two beats
SLOWEST = 5.0  # seconds between two pieces of the log of something that takes hours
_TRIES = 5  # for the last word


class Report:
    """What a run tells. A thread of its own looks every `pause` seconds; its methods are for one.

    SIGTERM and SIGUSR1 say that the machine is taken away: the command ends, with what it saved.
    """

    def __init__(
        self,
        id_: str,
        control: Control,
        *,
        attempt: str,
        host: str,
        pause: float,
        ring: Callable[[], None],
    ) -> None:
        self.preempted = False
        self._id = id_
        self._control = control
        self._pause = pause
        self._ring = ring
        every = max(EVERY, 2 * pause)
        now = time.time_ns() / 1e9
        self._state = State("queued", attempt, host=host, pid=os.getpid(), since=now, every=every)
        self._state = replace(self._state, mlbuild=__version__)
        self._door = threading.Lock()
        # Without a name of its own: nothing is left of it, however we end.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `close`
        self._sent = 0  # bytes of the log
        self._cancel: Callable[[], None] = lambda: None
        self._leave: Callable[[], None] = lambda: None
        self._cancelled = False
        self._started = self._told = self._looked = time.monotonic()
        self._over = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="pulse", daemon=True)

    @property
    def log(self) -> str:
        """The absolute path of the file that the command prints to."""
        return f"/proc/{os.getpid()}/fd/{self._log.fileno()}"

    def begin(self, order: Order) -> None:
        """Tell that the order has been taken."""
        self.phase("queued", owner=order.action.owner, key=order.key)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._preempt)
        self._pulse.start()

    def phase(self, phase: str, **news: Any) -> None:
        """Tell that a phase begins, at once."""
        with self._door:
            self._state = replace(self._state, phase=phase, **news)
            self._tell()

    def note(self, **news: Any) -> None:
        """Tell something with the next beat, soon where it is new."""
        with self._door:
            changed = replace(self._state, **news)
            if changed != self._state:
                self._state = changed
                self._told = 0.0

    def on_cancel(self, cancel: Callable[[], None], *, leave: Callable[[], None]) -> None:
        """Have `cancel` called when somebody wants the run to end, `leave` at pre-emption."""
        self._cancel, self._leave = cancel, leave
        if self._cancelled:
            cancel()
        elif self.preempted:
            leave()

    def is_cancelled(self) -> bool:
        """Say whether somebody wants the run to end."""
        return self._cancelled

    def end(self, phase: str, **news: Any) -> None:
        """Say the last word, after the end of the log."""
        self._over.set()
        if self._pulse.ident is not None:
            self._pulse.join()
        if self._cancelled and not self.preempted:
            phase = "cancelled"
        with self._door:
            for left in reversed(range(_TRIES)):
                try:
                    self._push(all_of_it=True)
                    self._state = replace(self._state, phase=phase, waits="", **news)
                    self._tell()
                except SharedTrouble as trouble:
                    if not left:
                        raise HostError(f"the end cannot be told: {trouble.message}") from trouble
                    time.sleep(0.2)
                else:
                    return

    def fail(self, fault: Fault) -> None:
        """Say why there is no result. A full disk may keep us from that: then silence says it."""
        try:
            self.end("failed", fault=fault)
        except HostError:
            return

    def close(self) -> None:
        """End the thread, and remove the log of this machine."""
        self._over.set()
        self._log.close()

    def _beat(self) -> None:
        while not self._over.wait(self._pause):
            with self._door:
                try:
                    self._look()
                except SharedTrouble:
                    continue  # the next look may do better

    def _look(self) -> None:
        """See whether it is to end, push what was printed, and tell that we live."""
        if not self._cancelled and self._control.is_cancelled(self._id):
            self._cancelled = True
            self._cancel()
        now = time.monotonic()
        pause = min(SLOWEST, max(self._pause, (now - self._started) / 50))
        pushed = now - self._looked >= pause and self._push()
        if pushed or now - self._told >= self._state.every:
            self._tell()

    def _push(self, *, all_of_it: bool = False) -> bool:
        """Send what was printed since; say whether that was anything."""
        pushed = False
        while piece := os.pread(self._log.fileno(), PIECE, self._sent):
            self._control.add_log(self._id, self._state.chunks, piece)
            self._sent += len(piece)
            self._state = replace(self._state, chunks=self._state.chunks + 1, log=self._sent)
            pushed = True
            if not all_of_it and len(piece) < PIECE:
                break
        self._looked = time.monotonic()
        return pushed

    def _tell(self) -> None:
        self._state = replace(self._state, beat=self._state.beat + 1)
        self._control.tell(self._id, self._state)
        self._ring()
        self._told = time.monotonic()

    def _preempt(self, *_: object) -> None:
        self.preempted = True
        self._leave()
