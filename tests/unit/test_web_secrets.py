"""What a web mirror is told, and what another server that it sends us to is not."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mlbuild.errors import InputError
from mlbuild.shared.opened import open_shared
from mlbuild.shared.web import WebBucket, context_of
from mlbuild.sharing import Sharing


class Server(http.server.ThreadingHTTPServer):
    """Remembers the headers of each request, and may send on to another place."""

    def __init__(self, onward: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.onward = onward
        self.heard: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/x"


class Asked(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.heard.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(302 if self.server.onward else 404)
        if self.server.onward:
            self.send_header("Location", self.server.onward)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_mirror_hears_token_and_headers_and_where_it_sends_us_does_not(tmp_path: Path) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(running(Server()))
        mirror = stack.enter_context(running(Server(onward=other.url)))
        sharing = Sharing(url=mirror.url, token="hush-1", headers=("x-key: hush-2",))  # noqa: S106
        said: list[str] = []
        shared = open_shared(sharing, root=str(tmp_path), say=lambda text, _: said.append(text))

        found = shared.lookup("0" * 64)
        shared.close()

    assert found is None
    assert mirror.heard[0]["authorization"] == "Bearer hush-1"
    assert mirror.heard[0]["x-key"] == "hush-2"
    assert other.heard
    assert not {"authorization", "x-key"} & set(other.heard[0])
    assert "hush" not in "".join(said)


def test_the_same_server_hears_them_again() -> None:
    with running(Server()) as mirror:
        bucket = WebBucket(mirror.url, headers=("x-key: hush",))

        bucket.read("a")
        bucket.read("b")
        bucket.close()

    assert [heard["x-key"] for heard in mirror.heard] == ["hush", "hush"]


def test_certificates_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InputError, match="the certificates in `/nowhere/ca"):
        context_of("/nowhere/ca.pem", "", "")

    assert context_of("", "", "") is None
