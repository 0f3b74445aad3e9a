"""Greeting: where our program begins to speak, behind whatever a login shell prints before it.

Many a `.bashrc` says hello on the standard output. Frames begin after a mark that nobody else says.
"""

import os
import select
from dataclasses import dataclass
from time import monotonic

MARK = b"\x00mlbuild speaks\x01"
LONGEST = 1 << 20  # bytes that may come before
_KEPT = 2000  # bytes of them that are worth telling


@dataclass(frozen=True, slots=True)
class Greeting:
    """What came before the mark, if that came."""

    marked: bool
    noise: str  # the end of what was printed before
    silent: bool = False  # nobody said anything more in the time that there was


def greeting(fd: int, *, seconds: float) -> Greeting:
    """Read up to the end of the mark and no byte more, for at most so long."""
    until = monotonic() + seconds
    ear = select.poll()
    ear.register(fd, select.POLLIN)
    said = b""
    taken = 0
    while not said.endswith(MARK):
        if taken > LONGEST or not ear.poll(max(0.0, until - monotonic()) * 1000):
            return Greeting(False, _shown(said), silent=True)
        more = os.read(fd, len(MARK) - _begun(said))
        if not more:
            return Greeting(False, _shown(said))
        taken += len(more)
        said = (said + more)[-_KEPT:]
    return Greeting(True, _shown(said[: -len(MARK)]))


def _begun(said: bytes) -> int:
    """Return how many bytes of the mark `said` ends with."""
    return next(n for n in range(len(MARK) - 1, -1, -1) if said.endswith(MARK[:n]))


def _shown(said: bytes) -> str:
    """Return the last line that is one."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
