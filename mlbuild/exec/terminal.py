"""Terminal: lends a command a terminal of its own, which shows and is typed in through ours.

Not ours itself: whoever has that may push characters into it, and our shell would run them.
"""

import errno
import fcntl
import os
import select
import signal
import struct
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlbuild.exec.base import Streams

_CHUNK = 1 << 16
_NO_SIZE = struct.pack("HHHH", 0, 0, 0, 0)
_END_OF_FILE = b"\x04"  # what Ctrl-D types


@contextmanager
def own_terminal(stdin: int, stdout: int) -> Iterator[Streams]:
    """Yield the streams of a new terminal that is as large as ours, the terminal `stdin`.

    Until the end, what is typed goes there unchanged: Ctrl-C reaches the command and not us. Main
    thread only: it listens to changes of size.
    """
    outer, inner = os.openpty()
    was = termios.tcgetattr(stdin)
    termios.tcsetattr(inner, termios.TCSANOW, was)

    def resize(*_: Any) -> None:
        fcntl.ioctl(inner, termios.TIOCSWINSZ, fcntl.ioctl(stdin, termios.TIOCGWINSZ, _NO_SIZE))

    resize()
    before = signal.signal(signal.SIGWINCH, resize)
    ferry = threading.Thread(target=_carry, args=(stdin, stdout, outer), daemon=True)
    try:
        tty.setraw(stdin, termios.TCSANOW)
        ferry.start()
        yield Streams(inner, inner, inner, terminal=True)
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(inner)  # the last: whoever reads the other end sees all that was written, then EIO
        if ferry.ident is not None:
            ferry.join()
        os.close(outer)
        termios.tcsetattr(stdin, termios.TCSADRAIN, was)


def _carry(stdin: int, stdout: int, outer: int) -> None:
    """Carry bytes both ways until nobody has the inner end open."""
    sources = [stdin, outer]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if outer in ready:
            try:
                _write(stdout, os.read(outer, _CHUNK))
            except OSError as error:
                if error.errno == errno.EIO:
                    return
                raise
        elif stdin in ready:  # what is shown comes first: else two full pipes wait for each other
            typed = os.read(stdin, _CHUNK)
            if not typed:
                sources.remove(stdin)
            _write(outer, typed or _END_OF_FILE)


def _write(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
