"""Channel: gRPC connections to one cache server, with every failure turned into SharedTrouble.

The only file that knows grpc. A call that makes no progress for `patience` seconds is given up:
idleness counts, not the time that a large blob takes.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event, Lock, Thread
from typing import Any

import grpc

from mlbuild.shared.base import SharedTrouble, Traffic
from mlbuild.shared.reapi_access import Access, Address, check
from mlbuild.shared.reapi_messages import Method
from mlbuild.shared.reapi_trouble import trouble

CONNECTIONS = 4  # over which bytes are spread
LARGEST = 16 << 20  # bytes of one message that a server may send
SLOWEST = 64 << 10  # bytes a second below which one request is given up
WINDOW = 2 << 20  # bytes of one stream on their way
_OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.use_local_subchannel_pool", 1),  # else all channels share one connection
    ("grpc.min_reconnect_backoff_ms", 10_000),  # that is how long one attempt may take
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.http2.bdp_probe", 0),  # it would let whole blobs pile up in memory
    ("grpc.http2.lookahead_bytes", WINDOW),
    ("grpc.enable_retries", 0),  # whoever calls us decides that
    ("grpc.primary_user_agent", "mlbuild"),
]


class Channel:
    """Calls to one server. Safe for many threads at once; connects when first used."""

    def __init__(self, address: Address, access: Access, *, patience: float) -> None:
        check(address, access)
        self.address = address
        self.traffic = Traffic()
        self._access = access
        self.patience = patience
        self._watch = _Watch(patience)
        self._metadata = _metadata(access)
        self._door = Lock()
        self._channels: list[grpc.Channel] = []
        self._turn = count()

    def call(
        self, method: Method, request: Any, *, spread: bool = False, within: float = 0.0
    ) -> Any | None:
        """Return the answer to `request`; None for NOT_FOUND.

        With `spread` it may go over any of the connections, as large requests should. `within` are
        the seconds after which it is given up, if not those of our patience.
        """
        callable_ = self._at(spread=spread).unary_unary(
            method.path,
            request_serializer=self._sent,
            response_deserializer=self._received(method),
        )
        timeout = (within or self.patience) + request.ByteSize() / SLOWEST
        with self._calls():
            try:
                return callable_(request, timeout=timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                self._none_or_trouble(error, method)
                return None

    def down(self, method: Method, request: Any) -> Iterator[Any]:
        """Yield the answers to `request`; raise Gone for NOT_FOUND."""
        callable_ = self._at(spread=True).unary_stream(
            method.path,
            request_serializer=self._sent,
            response_deserializer=self._received(method),
        )
        with self._calls(), self._watch.one() as watched:
            stream = callable_(request, metadata=self._metadata)
            watched.over(stream.cancel)
            try:
                for answer in stream:
                    watched.alive()
                    yield answer
            except grpc.RpcError as error:
                self._none_or_trouble(error, method)
                raise Gone from error
            finally:
                stream.cancel()

    def up(self, method: Method, requests: Iterable[Any]) -> Any:
        """Send `requests` as one stream; return the answer, which may come before their end.

        What goes wrong while `requests` are made is raised here.
        """
        callable_ = self._at(spread=True).stream_unary(
            method.path,
            request_serializer=self._sent,
            response_deserializer=self._received(method),
        )
        faults: list[Exception] = []
        with self._calls(), self._watch.one() as watched:
            told = _told(requests, watched, faults)
            call = callable_.future(told, metadata=self._metadata)
            watched.over(call.cancel)
            try:
                return call.result()
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                if faults:
                    raise faults[0] from error
                if isinstance(error, grpc.FutureCancelledError):
                    raise self.trouble("CANCELLED", "", method=method) from error
                self._none_or_trouble(error, method)
                raise Gone from error
            finally:
                call.cancel()

    def trouble(self, code: str, details: str, *, method: Method) -> SharedTrouble:
        """Return the trouble that a status is."""
        return trouble(code, details, method=method.name, server=self.address.target)

    def close(self) -> None:
        """Give up all calls and connections."""
        self._watch.stop()
        with self._door:
            channels, self._channels = self._channels, []
        for channel in channels:
            channel.close()

    def _at(self, *, spread: bool) -> grpc.Channel:
        """Return the connection for the next call; the first is the one for small requests."""
        turn = next(self._turn) % CONNECTIONS if spread else 0
        with self._door:
            while len(self._channels) <= turn:
                self._channels.append(_connected(self.address, self._access))
            return self._channels[turn]

    def _sent(self, request: Any) -> bytes:
        content: bytes = request.SerializeToString()
        with self._door:
            self.traffic.up += len(content)
        return content

    def _received(self, method: Method) -> Callable[[bytes], Any]:
        def read(content: bytes) -> Any:
            with self._door:
                self.traffic.down += len(content)
            return method.response.FromString(content)

        return read

    def _calls(self) -> "_Counted":
        with self._door:
            self.traffic.requests += 1
        return _Counted(self.address.target)

    def _none_or_trouble(self, error: Any, method: Method) -> None:
        """Return for NOT_FOUND; raise SharedTrouble for everything else."""
        code = error.code().name
        if code != "NOT_FOUND":
            raise self.trouble(code, error.details() or "", method=method) from error


class Gone(Exception):  # noqa: N818 - an answer, not a fault
    """What was asked for is not there."""


class _Counted:
    """Turns the use of a closed channel, which grpc reports as a ValueError, into trouble."""

    def __init__(self, server: str) -> None:
        self._server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ValueError) and "closed channel" in str(error):
            raise SharedTrouble(
                "unreachable", f"the connection to `{self._server}` is closed"
            ) from error


class _Watch:
    """Gives up calls that make no progress."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._calls: set[_Watched] = set()
        self._door = Lock()
        self._ended = Event()
        self._thread: Thread | None = None

    @contextmanager
    def one(self) -> "Iterator[_Watched]":
        """Watch over one call."""
        watched = _Watched()
        with self._door:
            self._calls.add(watched)
            if self._thread is None:
                self._thread = Thread(target=self._look, name="reapi-watch", daemon=True)
                self._thread.start()
        try:
            yield watched
        finally:
            with self._door:
                self._calls.discard(watched)

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(min(1.0, self._patience / 4)):
            before = time.monotonic() - self._patience
            with self._door:
                idle = [watched for watched in self._calls if watched.last < before]
            for watched in idle:
                watched.cancel()


class _Watched:
    """One call that is watched."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.cancel: Callable[[], object] = lambda: None

    def over(self, cancel: Callable[[], object]) -> None:
        """Say how to give the call up."""
        self.cancel = cancel

    def alive(self) -> None:
        """Say that there is progress."""
        self.last = time.monotonic()


def _told(requests: Iterable[Any], watched: _Watched, faults: list[Exception]) -> Iterator[Any]:
    """Yield `requests`, and tell of each; a fault among them ends the call."""
    try:
        for request in requests:
            watched.alive()
            yield request
    except Exception as error:  # noqa: BLE001 - grpc would print it and forget it
        faults.append(error)
        watched.cancel()


def _metadata(access: Access) -> list[tuple[str, str]]:
    parts = (header.partition(":") for header in access.headers)
    found = [(name.strip().lower(), value.strip()) for name, _, value in parts]
    if access.token:
        found.append(("authorization", f"Bearer {access.token}"))
    return found


def _connected(address: Address, access: Access) -> grpc.Channel:
    """Return a channel, which connects when it is first used."""
    if not address.secure:
        return grpc.insecure_channel(address.target, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_pem(access.tls_ca, "cache.tls_ca"),
        private_key=_pem(access.tls_key, "cache.tls_key"),
        certificate_chain=_pem(access.tls_cert, "cache.tls_cert"),
    )
    return grpc.secure_channel(address.target, credentials, options=_OPTIONS)


def _pem(path: str, setting: str) -> bytes | None:
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SharedTrouble(
            "refused", f"`{path}` cannot be read: {error.strerror}", cure=f"check `{setting}`"
        ) from error
