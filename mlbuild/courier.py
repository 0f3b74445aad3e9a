"""Courier: the process that talks to the shared cache for a build, as the build sees it.

A program of its own and no fork: what it loads and the threads that it runs never reach the members
of a crew, and it can outlive the build. What goes on in it is told by `shared/service.py`.
"""

import os
import select
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from mlbuild.core.result import Result
from mlbuild.frames import receive, send
from mlbuild.shared.messages import (
    Bring,
    Brought,
    Found,
    Lookup,
    Message,
    Opening,
    Push,
    Pushed,
    Said,
    Settle,
    Totals,
    packed,
    unpacked,
)
from mlbuild.sharing import Sharing

# Our own folder comes last on its path: nothing in it may stand in for a module of Python's.
_START = "import sys; sys.path.append(sys.argv[1]); from mlbuild.shared.service import main; main()"


class Listener(Protocol):
    """Hears what a courier has to say."""

    def found(self, key: str, result: Result | None) -> None:
        """Hear what the shared cache has for a key."""
        ...

    def brought(self, key: str, *, here: bool) -> None:
        """Hear whether the result of a key is in the local store now."""
        ...

    def said(self, message: str, hints: tuple[str, ...]) -> None:
        """Hear what a user should know."""
        ...

    def counted(self, down: int, up: int, *, left: int, over: bool) -> None:
        """Hear the bytes moved, the uploads left to do, and whether that was the last word."""
        ...


class Courier:
    """A running courier between the local store at `root` and the shared cache.

    `log` is the path of the file for what it says beside its answers. `answers` is the descriptor
    that shows when it has one. Raises OSError when it cannot be started.
    """

    def __init__(
        self, sharing: Sharing, *, root: str, environ: Mapping[str, str], log: str
    ) -> None:
        orders, answers = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        folder = os.path.dirname(os.path.dirname(__file__))
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-c", _START, folder],
                {**environ},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, orders[0], 0),
                    (os.POSIX_SPAWN_DUP2, answers[1], 1),
                    (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                ],
                setsid=True,  # what ends the build at its terminal does not end it
            )
        except OSError:
            os.close(orders[1])
            os.close(answers[0])
            raise
        finally:
            os.close(orders[0])
            os.close(answers[1])
        self._orders = orders[1]
        self.answers = answers[0]
        self._order(Opening(root, sharing))

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors that no other process may hold, or it would not notice our end."""
        return self._orders, self.answers

    def look_up(self, key: str) -> None:
        """Have the result of `key` looked up."""
        self._order(Lookup(key))

    def bring(self, key: str, manifest: bytes, *, result: Result) -> None:
        """Have the bytes of `result` brought into the local store."""
        self._order(Bring(key, manifest, result))

    def push(self, key: str) -> None:
        """Have the local result of `key` uploaded."""
        self._order(Push(key))

    def settle(self, upload: str) -> None:
        """Say that the build ends, and what becomes of uploads."""
        self._order(Settle(upload))

    def _order(self, message: Message) -> None:
        with suppress(BrokenPipeError):  # dead: its pipe of answers says so
            send(self._orders, packed(message))

    def hear(self, listener: Listener, *, seconds: float = 0.0) -> bool:
        """Tell `listener` what has been answered, or is within `seconds`; False at its end."""
        ear = select.poll()
        ear.register(self.answers, select.POLLIN)
        while ear.poll(seconds * 1000):
            content = receive(self.answers)
            if content is None:
                return False
            _tell(unpacked(content), listener)
            seconds = 0.0
        return True

    def part(self, *, alone: bool) -> str:
        """Have nothing more to do with it; say how it ended, unless it goes on `alone`."""
        os.close(self._orders)
        os.close(self.answers)
        self.answers = -1
        if alone:
            return ""
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            return "ended"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _tell(message: Message, listener: Listener) -> None:
    match message:
        case Found():
            listener.found(message.key, message.result)
        case Brought():
            listener.brought(message.key, here=message.here)
        case Said():
            listener.said(message.message, message.hints)
        case Totals():
            listener.counted(message.down, message.up, left=message.left, over=message.over)
        case Pushed():
            pass  # Totals counts them
        case _:
            raise AssertionError(f"a courier does not answer {message!r}")
