"""Voice: what a job says, in its log and, where somebody waits for it, on the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TextIO

from mlbuild.core.event import Event
from mlbuild.errors import MlbuildError
from mlbuild.ui import Reader
from mlbuild.ui.diagnose import Place, error_lines
from mlbuild.ui.plain import Plain
from mlbuild.ui.terminal import Out
from mlbuild.ui.text import Paint, clean

_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class Listener:
    """A stream, and what shows events there."""

    out: Out
    reader: Reader
    paint: Paint


class Voice:
    """Says all to each listener."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def line(self, text: str) -> None:
        """Say one line."""
        for one in self._listeners:
            one.out.lines([clean(text)])

    def event(self, event: Event) -> None:
        """Tell what happened in a build."""
        for one in self._listeners:
            one.reader(event)

    def error(self, error: MlbuildError, *, root: str = "") -> None:
        """Draw an error whose place is below `root`."""
        for one in self._listeners:
            one.out.lines(error_lines(error, Place(root, one.paint, _COLUMNS)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._listeners:
            one.reader.close()


def plain_listener(stream: TextIO) -> Listener:
    """Return what writes a stream as a file is read: lines without colours."""
    out, paint = Out(stream), Paint(False)
    return Listener(out, Plain(out, paint=paint), paint)
