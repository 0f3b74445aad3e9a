"""Terminal: what the stream that we write to can show, and writing to it without surprises."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a stream can show."""

    live: bool  # the cursor may be moved
    color: bool
    columns: int  # stated by COLUMNS; 0: ask the terminal, whose size may change


def terminal_of(stream: TextIO, *, color: str, environ: Mapping[str, str]) -> Terminal:
    """Judge `stream`. `color` is "auto", "always" or "never"; a colour wish outranks NO_COLOR."""
    screen = _is_screen(stream) and environ.get("TERM", "") not in {"", "dumb"}
    allowed = screen and not environ.get("NO_COLOR")
    columns = environ.get("COLUMNS", "")
    return Terminal(
        live=screen and environ.get("CI", "").lower() in {"", "0", "false"},
        color=color == "always" or (color == "auto" and allowed),
        columns=int(columns) if re.fullmatch(r"[0-9]{1,5}", columns) else 0,
    )


def _is_screen(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):  # closed
        return False


def size_of(stream: TextIO, terminal: Terminal) -> tuple[int, int]:
    """Return the columns and lines of the screen behind `stream`, 80 and 24 where there is none."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = 80, 24
    return terminal.columns or columns or 80, lines or 24


class Out:
    """A stream that is written to as long as somebody reads it.

    When its reader is gone, what is written later is dropped: a build of hours does not end
    because somebody closed the window that it was watched in.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._gone = False

    def write(self, text: str) -> None:
        """Write `text` and flush it; letters that the stream cannot encode are written out."""
        if self._gone or not text:
            return
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()
        except (OSError, ValueError):
            self.give_up()

    def lines(self, lines: "list[str]") -> None:
        """Write `lines`, each with its end."""
        self.write("".join(f"{line}\n" for line in lines))

    def give_up(self) -> None:
        """Write no more. What the stream still holds must not fail at exit either."""
        self._gone = True
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            return
