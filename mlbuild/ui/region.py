"""Region: the lines at the bottom of a terminal, redrawn in place. Only here is rich used."""

from typing import TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mlbuild.ui.terminal import Out, Terminal


class Region:
    """Lines that stay at the bottom while others scroll by above them."""

    def __init__(self, out: Out, terminal: Terminal) -> None:
        self._console = Console(
            file=cast("TextIO", _File(out)),
            force_terminal=True,
            color_system="standard" if terminal.color else None,
            highlight=False,
            markup=False,
            emoji=False,
            _environ={},  # the size and the colours are decided by our own settings
        )
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._started = False

    def draw(self, lines: list[str], view: list[str], *, size: tuple[int, int]) -> None:
        """Let `lines` scroll by, and `view` stand below; `size` is the screen's: columns, lines."""
        self._console.size = size
        shown = Text("\n").join(Text.from_ansi(line) for line in view)
        shown.no_wrap, shown.overflow = True, "ellipsis"
        self._live.update(shown)
        if not self._started:
            self._live.start()
            self._started = True
        if lines:
            self._console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)
        self._live.refresh()

    def close(self) -> None:
        """Take the lines away."""
        if self._started:
            self._live.stop()


class _File:
    """What rich needs of a stream."""

    def __init__(self, out: Out) -> None:
        self._out = out

    @property
    def encoding(self) -> str:
        return self._out.stream.encoding

    def write(self, text: str) -> int:
        self._out.write(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write is flushed."""

    def isatty(self) -> bool:
        return True
