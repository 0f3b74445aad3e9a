"""The proxy of plain bytes does the harm that it says: other tests rely on it."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.wire import Wire, wire

TEXT = b"0123456789" * 10


@dataclass
class Talk:
    """A client behind a wire, in front of a server that says TEXT to whoever connects."""

    wire: Wire

    def heard(self) -> bytes:
        host, _, port = self.wire.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=0.2) as client:
            found = b""
            while block := client.recv(1 << 16):
                found += block
            return found


@pytest.fixture
def talk() -> Iterator[Talk]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_say, args=(listener,), daemon=True)
        thread.start()
        with wire("127.0.0.1", listener.getsockname()[1]) as made:
            yield Talk(made)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _say(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.sendall(TEXT)


def test_without_harm_all_passes(talk: Talk) -> None:
    assert talk.heard() == TEXT
    assert talk.wire.connections == 1


def test_a_flipped_byte_is_another(talk: Talk) -> None:
    talk.wire.kind, talk.wire.number = "flip", 12

    assert talk.heard() == TEXT[:12] + b"3" + TEXT[13:]


def test_a_reset_ends_a_connection(talk: Talk) -> None:
    talk.wire.kind, talk.wire.number = "reset", 20

    with pytest.raises(ConnectionResetError):
        talk.heard()


def test_a_stall_keeps_a_connection_and_says_nothing(talk: Talk) -> None:
    talk.wire.kind, talk.wire.number = "stall", 20

    with pytest.raises(TimeoutError):
        talk.heard()
