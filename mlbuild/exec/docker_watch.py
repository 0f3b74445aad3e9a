"""Watch: follows a running container: what it prints goes to the log, its end wakes who waits."""

import os
import select
import struct
import threading
from contextlib import suppress
from time import monotonic
from typing import Any

from mlbuild.errors import HostError
from mlbuild.exec.docker_engine import Engine, LostEngine, engine_errors

_HEAD = struct.Struct(">BxxxI")  # of each piece: which stream, how many bytes


class Watch:
    """One container, from before its start to its end."""

    def __init__(self, engine: Engine, container: str, *, log: str) -> None:
        self._engine = engine
        self._container = container
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.log_start = os.fstat(self._log).st_size
        self._ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._code: int | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="container", daemon=True)
        self._socket: Any = None
        try:
            with engine_errors("what a container prints could not be read"):
                self._socket = engine.api.attach_socket(container)
        except BaseException:
            os.close(self._log)
            os.close(self._ended)
            raise

    def begin(self) -> None:
        """Follow the container, which has been started."""
        self._thread.start()

    def wait(self, deadline: float, *, unless: int = -1) -> str:
        """Return "" once the container has ended, "timeout" at `deadline` if that is not 0.

        Returns "cancel" when the descriptor `unless` can be read.
        """
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        if unless >= 0:
            poll.register(unless, select.POLLIN)
        left = max(0.0, deadline - monotonic()) * 1000 if deadline else None
        ready = {fd for fd, _ in poll.poll(left)}
        if self._ended in ready:
            return ""
        return "cancel" if ready else "timeout"

    def kill(self, number: int) -> None:
        """Send a signal to the command; it may have ended."""
        with engine_errors("a container could not be ended"), suppress(HostError):
            self._engine.api.kill(self._container, number)

    def code(self) -> int:
        """Return the exit code of the ended container; raise LostEngine when nobody knows it."""
        self._thread.join()
        if self._error is not None:
            raise LostEngine(
                f"the Docker Engine was lost while a container ran: {self._error}",
                hints=("`mlbuild doctor` looks at the engine",),
            ) from self._error
        assert self._code is not None
        return self._code

    def close(self) -> None:
        """Stop following. Nothing is printed to the log afterwards."""
        inner = getattr(self._socket, "_sock", None)  # which no `close` of the SDK's reaches
        for one in (self._socket, inner):
            if one is not None:
                with suppress(OSError):
                    one.close()
        if self._thread.ident is not None:
            self._thread.join(1)
        os.close(self._log)
        os.close(self._ended)

    def _follow(self) -> None:
        """Copy all that is printed, then wait for the end: the body of the thread."""
        try:
            with engine_errors("what a container prints could not be read"):
                while head := self._exactly(_HEAD.size):
                    _, size = _HEAD.unpack(head)
                    self._copy(size)
            with engine_errors("it could not say how a container ended"):
                self._code = int(self._engine.api.wait(self._container, timeout=None)["StatusCode"])
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits
            self._error = error
        with suppress(OSError):
            os.eventfd_write(self._ended, 1)

    def _copy(self, size: int) -> None:
        while size:
            content = self._read(min(size, 1 << 16))
            if not content:
                return
            size -= len(content)
            os.write(self._log, content)

    def _exactly(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end of all."""
        found = b""
        while len(found) < size and (more := self._read(size - len(found))):
            found += more
        return found if len(found) == size else b""

    def _read(self, size: int) -> bytes:
        content: bytes = (
            self._socket.read(size) if hasattr(self._socket, "read") else self._socket.recv(size)
        )
        return content
