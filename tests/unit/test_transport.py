"""Addresses of shared caches, bodies that arrive, and web mirrors with logins and redirects."""

import base64
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from mlbuild.errors import InputError
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.incoming import PATIENCE, SLOWEST, Incoming
from mlbuild.shared.place import Place, place_of
from mlbuild.shared.web import open_web

# -- addresses


def test_an_address_says_where_and_how() -> None:
    place = place_of(
        "s3://team/caches/ml%20build/?endpoint_url=http://minio:9000&region=eu-1&profile=ci"
        "&path_style=1&anonymous=0"
    )

    assert place == Place(
        "team", "caches/ml build", "http://minio:9000", "eu-1", "ci", path_style=True
    )
    assert place.key("ac/1") == "caches/ml build/ac/1"


def test_an_address_without_a_prefix_is_the_whole_bucket() -> None:
    place = place_of("s3://team")

    assert (place.shown, place.key("ac/1")) == ("team", "ac/1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "is not an address"),
        ("http://team/x", "is not an address"),
        ("s3://key:secret@team/x", "is not an address"),
        ("s3://team/x?endpoint=http://a", "the option `endpoint`"),
        ("s3://team/x?path_style=maybe", "neither 1 nor 0"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        place_of(url)

    assert "secret" not in caught.value.message


def test_a_misspelt_option_is_guessed() -> None:
    with pytest.raises(InputError) as caught:
        place_of("s3://team/x?endpoint=http://a")

    assert caught.value.hints == ("did you mean `endpoint_url`?",)


@pytest.mark.parametrize("url", ["ftp://host/x", "https:///x", "https://host:port/x"])
def test_a_web_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is not an address"):
        open_web(url)


# -- bodies


@dataclass
class Dripping:
    """A body of one byte at a time, and the clock that ticks with each."""

    left: int
    seconds: float
    now: float = 0.0

    def read(self, size: int) -> bytes:
        assert size > 0
        self.now += self.seconds
        self.left -= 1
        return b"x" if self.left >= 0 else b""

    def clock(self) -> float:
        return self.now


def test_a_body_that_drips_for_ever_is_given_up() -> None:
    dripping = Dripping(left=1 << 40, seconds=0.5)

    with pytest.raises(SharedTrouble) as caught:
        Incoming("`x`", dripping.read).content(clock=dripping.clock)

    assert caught.value.kind == "slow"
    assert dripping.now <= PATIENCE + 1


def test_a_body_that_is_slow_but_steady_is_read() -> None:
    dripping = Dripping(left=50_000, seconds=0.9 / SLOWEST)

    content = Incoming("`x`", dripping.read).content(clock=dripping.clock)

    assert len(content) == 50_000
    assert dripping.now > PATIENCE


def test_a_body_that_is_announced_as_too_long_is_not_read() -> None:
    dripping = Dripping(left=1 << 40, seconds=0.0)

    with pytest.raises(SharedTrouble) as caught:
        Incoming("`x`", dripping.read, 1 << 40).content(limit=10)

    assert caught.value.kind == "damaged"
    assert dripping.left == 1 << 40


def test_a_body_of_unknown_length_is_read_up_to_its_limit() -> None:
    dripping = Dripping(left=1 << 40, seconds=0.0)

    with pytest.raises(SharedTrouble) as caught:
        Incoming("`x`", dripping.read).content(limit=10)

    assert caught.value.kind == "damaged"
    assert dripping.left == (1 << 40) - 11


def test_a_body_that_ends_too_early_is_worth_another_try() -> None:
    with pytest.raises(SharedTrouble) as caught:
        Incoming("`x`", Dripping(left=5, seconds=0.0).read, 6).content()

    assert caught.value.kind == "unreachable"


# -- web mirrors


@dataclass
class Site:
    """A web server that answers as `answers` says: status and location or content by path."""

    address: str = ""
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)  # path and authorization


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


@pytest.fixture
def other() -> Iterator[Site]:
    yield from serve()


def serve() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.seen.append((self.path, self.headers.get("Authorization", "")))
            status, text = site.answers.get(self.path, (404, ""))
            body = b"" if 300 <= status < 400 else text.encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            del format, args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_port}"
        yield site
        server.shutdown()
        thread.join()


def read(url: str, name: str = "a") -> bytes | None:
    mirror = open_web(url)
    try:
        return mirror.read(name)
    finally:
        mirror.close()


def test_a_login_in_the_address_is_used_and_never_shown(site: Site) -> None:
    site.answers["/m/a"] = (403, "no")
    address = site.address.replace("http://", "http://ann:s3cret%21@")

    with pytest.raises(SharedTrouble) as caught:
        read(f"{address}/m")

    expected = base64.b64encode(b"ann:s3cret!").decode()
    assert site.seen == [("/m/a", f"Basic {expected}")]
    assert caught.value.kind == "denied"
    assert "s3cret" not in caught.value.message + caught.value.cure


def test_a_redirect_is_followed_without_the_login(site: Site, other: Site) -> None:
    site.answers["/m/a"] = (302, f"{other.address}/elsewhere")
    other.answers["/elsewhere"] = (200, "content")

    found = read(site.address.replace("http://", "http://ann:secret@") + "/m")

    assert found == b"content"
    assert other.seen == [("/elsewhere", "")]


def test_redirects_in_circles_end(site: Site) -> None:
    site.answers["/m/a"] = (302, "/m/a")

    with pytest.raises(SharedTrouble, match="in circles"):
        read(f"{site.address}/m")


@pytest.mark.parametrize("location", ["ftp://host/x", "file:///etc/passwd", ""])
def test_a_redirect_to_something_else_than_the_web_is_refused(site: Site, location: str) -> None:
    site.answers["/m/a"] = (302, location)

    with pytest.raises(SharedTrouble) as caught:
        read(f"{site.address}/m")

    assert caught.value.kind == "refused"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "denied"), (429, "slow"), (503, "slow"), (500, "unreachable")]
)
def test_what_a_web_server_refuses_has_a_kind(site: Site, status: int, kind: str) -> None:
    site.answers["/m/a"] = (status, "no")

    with pytest.raises(SharedTrouble) as caught:
        read(f"{site.address}/m")

    assert caught.value.kind == kind


def test_a_web_server_that_is_gone_is_unreachable() -> None:
    with pytest.raises(SharedTrouble) as caught:
        read("http://127.0.0.1:9/m")

    assert caught.value.kind == "unreachable"


def test_a_proxy_of_this_machine_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    site.answers["http://mirror.invalid/m/a"] = (200, "through the proxy")

    assert read("http://mirror.invalid/m") == b"through the proxy"
