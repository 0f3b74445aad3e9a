"""A proxy of plain bytes that does harm, in front of any server that speaks TCP."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.proxy import BLOCK, flipped, listening, tear


@dataclass
class Wire:
    """A proxy of plain bytes, for every protocol; `number` counts bytes from server to client.

    `kind`: "" passes all on; "latency" waits `seconds` with each block; "reset" tears connections
    down after `number` bytes, "stall" stops there, "flip" changes the byte there.
    """

    target: tuple[str, int]
    address: str = ""  # host:port
    kind: str = ""
    number: int = 0
    seconds: float = 0.0
    connections: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _open: set[socket.socket] = field(default_factory=set)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            self.connections += 1
            self._open |= {client, server}
            for args in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=args, daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self.cut()

    def cut(self) -> None:
        """End all connections there are."""
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _pass(self, source: socket.socket, to: socket.socket, harmed: bool) -> None:  # noqa: FBT001
        passed = 0
        try:
            while block := source.recv(BLOCK):
                end = passed + len(block)
                if harmed and self.kind == "latency":
                    self._over.wait(self.seconds)
                if harmed and self.kind in {"reset", "stall"} and end > self.number:
                    to.sendall(block[: max(0, self.number - passed)])
                    if self.kind == "stall":
                        self._over.wait()
                    tear(to)
                    return
                if harmed and self.kind == "flip" and passed <= self.number < end:
                    block = flipped(block, self.number - passed)
                to.sendall(block)
                passed = end
        except OSError:
            pass
        finally:
            for one in (source, to):
                if self.kind != "reset":  # that would be a polite end
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                one.close()
                self._open.discard(one)


@contextmanager
def wire(host: str, port: int) -> Iterator[Wire]:
    """Yield a proxy of bytes in front of `host:port`."""
    made = Wire((host, port))
    with listening(made.serve) as own:
        made.address = f"127.0.0.1:{own}"
        yield made
        made.stop()
