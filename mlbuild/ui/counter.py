"""Counter: one line on a terminal that says how far something long has come; else nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlbuild.ui.terminal import Out, Terminal
from mlbuild.ui.text import clean

EVERY = 0.2  # seconds


@contextmanager
def counter(out: Out, terminal: Terminal) -> Iterator[Callable[[str], None]]:
    """Yield what shows a text in place of the one before, now and then; at the end it is gone."""
    last = 0.0

    def tell(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if terminal.live and now - last >= EVERY:
            last = now
            out.write(f"\r{clean(text)}\x1b[K")

    try:
        yield tell
    finally:
        if last:
            out.write("\r\x1b[K")
