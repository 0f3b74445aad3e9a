"""A proxy that does harm to an HTTP server (`wire.py` has one for every other protocol).

It counts what passes, so that a test can say how many requests something took.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from urllib.parse import urlsplit

BLOCK = 1 << 16


@dataclass(frozen=True)
class Request:
    """What a client asks: the method, the path with its query, lower-case headers, the body."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")

    def without(self, name: str) -> "Request":
        kept = tuple((key, value) for key, value in self.headers if key != name)
        return replace(self, headers=kept)

    def spoiled(self, number: int) -> "Request":
        return replace(self, body=flipped(self.body, number))


@dataclass
class Fault:
    """What happens to requests: those that `hits`, after the first `after`, `times` of them.

    `kind`: "status" answers `number` and asks nobody; "latency" waits `seconds`; "reset" tears the
    connection down before the server is asked, "lost" after that; "truncate" ends the body after
    `number` bytes; "stall" stops there and keeps the connection; "drip" sends single bytes from
    there, one every `seconds`; "flip" changes the byte at `number` of the body; "longer" adds
    `number` bytes to it; "body" answers `content` with 200; "ignore" takes the header `content`
    from the request; "spoil" changes the byte at `number` of what the client sends.
    """

    kind: str
    number: int = 0
    seconds: float = 0.0
    content: bytes = b""
    hits: Callable[[Request], bool] = lambda _: True
    after: int = 0
    times: int = 1 << 30
    seen: int = 0

    def strikes(self, request: Request) -> bool:
        if not self.hits(request):
            return False
        self.seen += 1
        return self.after < self.seen <= self.after + self.times


def of(method: str, part: str = "") -> Callable[[Request], bool]:
    """Return whether a request has this method, and this in its path."""
    return lambda request: request.method == method and part in request.path


@dataclass
class Proxy:
    """A running proxy; `faults` may change while it runs."""

    target: tuple[str, int]
    endpoint: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    down: int = 0  # bytes of bodies that were passed on to clients
    refused: bool = False  # every new connection is torn down, see `vanish`
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def asked(self, method: str = "", part: str = "") -> int:
        """Return how many requests came of this method, with this in their path."""
        with self._lock:
            return sum(
                (not method or request.method == method) and part in request.path
                for request in self.requests
            )

    def forget(self) -> None:
        """Do no harm any more, and count anew."""
        with self._lock:
            self.faults.clear()
            self.requests.clear()
            self.connections = self.down = 0
        self.refused = False

    def vanish(self) -> None:
        """Be gone until `forget`."""
        self.refused = True
        self._cut()

    # how it works

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.refused:
                tear(client)
                continue
            with self._lock:
                self.connections += 1
                self._open.add(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            left = list(self._open)
        for client in left:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _talk(self, client: socket.socket) -> None:
        """Pass on requests of one client until it goes."""
        server: socket.socket | None = None
        answers: BinaryIO | None = None
        try:
            with client.makefile("rb") as asked:
                while (request := _request(asked)) is not None:
                    faults = self._faults(request)
                    kinds = {fault.kind: fault for fault in faults}
                    if (slow := kinds.get("latency")) and self._over.wait(slow.seconds):
                        return
                    if (status := kinds.get("status")) or (status := kinds.get("body")):
                        client.sendall(_made_up(status))
                        continue
                    if "reset" in kinds:
                        tear(client)
                        return
                    if (ignored := kinds.get("ignore")) is not None:
                        request = request.without(ignored.content.decode())
                    if (spoil := kinds.get("spoil")) is not None and request.body:
                        request = request.spoiled(spoil.number)
                    if server is None or answers is None:
                        server = socket.create_connection(self.target)
                        answers = server.makefile("rb")
                    server.sendall(_encoded(request))
                    if not self._answered(request, answers, client, kinds):
                        return
        except (OSError, ValueError):
            return
        finally:
            for one in (answers, server, client):
                if one is not None:
                    with suppress(OSError):
                        one.close()
            with self._lock:
                self._open.discard(client)

    def _faults(self, request: Request) -> list[Fault]:
        with self._lock:
            self.requests.append(request)
            return [fault for fault in self.faults if fault.strikes(request)]

    def _answered(
        self,
        request: Request,
        answers: BinaryIO,
        client: socket.socket,
        kinds: dict[str, Fault],
    ) -> bool:
        """Pass on one answer; False when the connection is over."""
        head, length, known = _head(answers)
        if request.method == "HEAD" or head.split(b" ", 2)[1] in {b"204", b"304"}:
            length = 0
        if "lost" in kinds:
            tear(client)
            return False
        harmful = [kinds[k] for k in ("truncate", "stall", "drip", "flip", "longer") if k in kinds]
        if known is None and (not harmful or length == 0):
            client.sendall(head)
            passed = _relay(answers, client, length)
            with self._lock:
                self.down += passed
            return length >= 0
        body = _body(answers, length) if known is None else known
        with self._lock:
            self.down += len(body)
        if not harmful:
            client.sendall(head + body)
            return True
        return self._harmed(head, body, client, harmful[0])

    def _harmed(self, head: bytes, body: bytes, client: socket.socket, fault: Fault) -> bool:
        if fault.kind == "flip":
            client.sendall(head + flipped(body, fault.number))
            return True
        if fault.kind == "longer":
            old, new = (b"%d" % n for n in (len(body), len(body) + fault.number))
            head = head.replace(b"ength: " + old + b"\r\n", b"ength: " + new + b"\r\n")
            client.sendall(head + body)
            client.sendall(b"x" * fault.number)
            return True
        client.sendall(head + body[: fault.number])
        if fault.kind == "drip":
            for at in range(fault.number, len(body)):
                if self._over.wait(fault.seconds):
                    break
                client.sendall(body[at : at + 1])
        if fault.kind == "stall":
            client.recv(1)  # until the client goes, or we end
        return False


@contextmanager
def proxy(endpoint: str) -> Iterator[Proxy]:
    """Yield a proxy in front of the HTTP server at `endpoint`."""
    parts = urlsplit(endpoint)
    made = Proxy((parts.hostname or "", parts.port or 80))
    with listening(made.serve) as port:
        made.endpoint = f"http://127.0.0.1:{port}"
        yield made
        made.stop()


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def flipped(content: bytes, number: int) -> bytes:
    """Return bytes of which one is another."""
    at = min(number, len(content) - 1)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def tear(client: socket.socket) -> None:
    """Close a connection so that its other end sees a reset."""
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.shutdown(socket.SHUT_RD)
        client.close()


def _request(asked: BinaryIO) -> Request | None:
    line = asked.readline(BLOCK).decode("latin-1").split()
    if len(line) < 2:
        return None
    headers = []
    while (text := asked.readline(BLOCK).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = text.partition(":")
        if name.lower() != "expect":  # that is between a client and us
            headers.append((name.strip().lower(), value.strip()))
    request = Request(line[0], line[1], tuple(headers))
    length = int(request.header("content-length") or 0)
    return Request(request.method, request.path, request.headers, asked.read(length))


def _encoded(request: Request) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


def _made_up(fault: Fault) -> bytes:
    status = 200 if fault.kind == "body" else fault.number
    closing = f"Content-Length: {len(fault.content)}\r\nContent-Type: application/xml\r\n\r\n"
    return f"HTTP/1.1 {status} Made up\r\n{closing}".encode() + fault.content


def _head(answers: BinaryIO) -> tuple[bytes, int, bytes | None]:
    """Read status line and headers, and the body of an answer in chunks: it becomes a whole.

    Return them as they came, how long the body is (-1: until the end), and what is read of it.
    """
    lines = [answers.readline(BLOCK)]
    if not lines[0]:
        raise ConnectionError("the server has gone")
    length, chunked = -1, False
    while (line := answers.readline(BLOCK)) not in {b"\r\n", b"\n", b""}:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if name.lower() == b"transfer-encoding":
            chunked = True
            continue
        lines.append(line)
    if not chunked:
        return b"".join([*lines, b"\r\n"]), length, None
    parts = []
    while size := int(answers.readline(BLOCK).split(b";")[0], 16):
        parts.append(answers.read(size))
        answers.readline(BLOCK)
    while answers.readline(BLOCK) not in {b"\r\n", b"\n", b""}:
        pass
    body = b"".join(parts)
    lines.append(b"Content-Length: %d\r\n" % len(body))
    return b"".join([*lines, b"\r\n"]), len(body), body


def _body(answers: BinaryIO, length: int) -> bytes:
    return answers.read() if length < 0 else answers.read(length)


def _relay(answers: BinaryIO, client: socket.socket, length: int) -> int:
    """Pass a body on, one of unknown length until the server ends it; return its bytes."""
    passed = 0
    while passed != length:
        block = answers.read(min(BLOCK, length - passed) if length > 0 else BLOCK)
        if not block:
            break
        client.sendall(block)
        passed += len(block)
    return passed
