"""Readers of events: terminal, plain text, JSON lines; and the drawing of errors."""

from typing import Protocol

from mlbuild.core.event import Event
from mlbuild.ui.terminal import Out, Terminal
from mlbuild.ui.text import Paint


class Reader(Protocol):
    """Takes in events, from one thread, and shows them."""

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        ...

    def close(self) -> None:
        """Finish: nothing is shown after it."""
        ...


def open_reader(out: Out, terminal: Terminal) -> Reader:
    """Return the reader that suits the stream behind `out`."""
    if terminal.live:
        from mlbuild.ui.live import Live  # noqa: PLC0415 - start-up: only one of the two is used

        return Live(out, terminal=terminal)
    from mlbuild.ui.plain import Plain  # noqa: PLC0415 - likewise

    return Plain(out, paint=Paint(terminal.color))
