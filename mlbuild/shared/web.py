"""WebBucket: a read-only Bucket behind plain GET, such as a mirror that a web server serves."""

import base64
import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from mlbuild.core.redact import redacted
from mlbuild.errors import InputError
from mlbuild.shared.base import Object, SharedTrouble
from mlbuild.shared.incoming import Incoming

IDLE_SECONDS = 30.0  # without a single byte
REDIRECTS = 5
_ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_ELSEWHERE = frozenset({301, 302, 303, 307, 308})
_DENIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_FAILED = 500  # and what is above


class WebBucket:
    """Objects below an `http://` or `https://` address; each thread keeps its own connections.

    `headers`, written `name: value`, are for that server alone: no redirect carries them away.
    """

    def __init__(
        self,
        url: str,
        *,
        idle_seconds: float = IDLE_SECONDS,
        headers: Sequence[str] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._own = _Origin.of(parts)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        self._url = urlunsplit(bare).rstrip("/")
        self._headers = {"User-Agent": "mlbuild", "Accept-Encoding": "identity"}
        credentials = _basic(parts)
        self._secrets = {"Authorization": credentials} if credentials else {}
        for header in headers:
            name, _, value = header.partition(":")
            self._secrets[name.strip()] = value.strip()
        self._context = context
        self._idle_seconds = idle_seconds
        self._kept = threading.local()
        self._all: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return what is there of `size` bytes from `start`; None when there is no object."""
        url, headers = f"{self._url}/{quote(name)}", dict(self._headers)
        if start or size >= 0:
            headers["Range"] = f"bytes={start}-{start + max(size, 1) - 1 if size >= 0 else ''}"
        try:
            for _ in range(REDIRECTS + 1):
                origin, answer = self._asked(url, headers)
                if answer.status not in _ELSEWHERE:
                    return self._content(answer, name, start=start, size=size, limit=limit)
                answer.close()
                self._drop(origin)
                url = self._next(url, answer.headers.get("Location", ""))
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        raise SharedTrouble("refused", f"`{self._url}` redirects in circles")

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Refuse: nobody writes through here."""
        del name, content, fresh
        raise self._readonly()

    def names(self, prefix: str) -> Iterator[Object]:
        """Refuse: plain GET has no listing."""
        del prefix
        raise SharedTrouble("readonly", f"`{self._url}` cannot be listed: it is a web mirror")

    def remove(self, names: list[str]) -> None:
        """Refuse: nobody removes through here."""
        del names
        raise self._readonly()

    def close(self) -> None:
        """Give back connections, of all threads."""
        with self._lock:
            connections, self._all = self._all, []
            self._kept = threading.local()
        for connection in connections:
            connection.close()

    def _asked(
        self, url: str, headers: Mapping[str, str]
    ) -> tuple["_Origin", http.client.HTTPResponse]:
        """Send a request over a kept connection; over a new one when that has gone stale."""
        parts = urlsplit(url)
        origin = _Origin.of(parts)
        words = dict(headers)
        if origin == self._own:
            words |= self._secrets
        proxy = _proxy(origin)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if proxy is not None and not origin.secure:
            target = urlunsplit(parts._replace(fragment=""))
            words |= proxy.authorization
        connection = self._connection(origin, proxy)
        stale = connection.sock is not None
        try:
            connection.request("GET", target, headers=words)
            return origin, connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            connection.close()
            if not stale:
                raise
        connection.request("GET", target, headers=words)
        return origin, connection.getresponse()

    def _content(
        self, answer: http.client.HTTPResponse, name: str, *, start: int, size: int, limit: int
    ) -> bytes | None:
        """Read the body of an answer. A connection with an unread rest must not be used again."""
        status = answer.status
        try:
            if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                told = answer.getheader("Content-Length", "")
                length = int(told) if told.isdecimal() else -1
                skip = 0 if status == HTTPStatus.PARTIAL_CONTENT else start
                coming = Incoming(f"`{name}`", answer.read1, length)
                return coming.content(skip=skip, size=size, limit=limit)
            answer.read(1 << 16)
            if status in _ABSENT:
                return None
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise self._refused(status)
        finally:
            if answer.length == 0:
                answer.read()  # `read1` leaves it open at its end
            if not answer.isclosed():
                answer.close()
                self._drop_all_of_this_thread()

    def _connection(self, origin: "_Origin", proxy: "_Origin | None") -> http.client.HTTPConnection:
        """Return this thread's connection to `origin`."""
        kept = self._mine()
        if origin not in kept:
            kept[origin] = self._made(origin, proxy)
            with self._lock:
                self._all.append(kept[origin])
        return kept[origin]

    def _made(self, origin: "_Origin", proxy: "_Origin | None") -> http.client.HTTPConnection:
        at = proxy or origin
        if not origin.secure:
            return http.client.HTTPConnection(at.host, at.port, timeout=self._idle_seconds)
        connection = http.client.HTTPSConnection(
            at.host, at.port, timeout=self._idle_seconds, context=self._context
        )
        if proxy is not None:
            connection.set_tunnel(origin.host, origin.port, headers=proxy.authorization)
        return connection

    def _mine(self) -> dict["_Origin", http.client.HTTPConnection]:
        if not hasattr(self._kept, "connections"):
            self._kept.connections = {}
        found: dict[_Origin, http.client.HTTPConnection] = self._kept.connections
        return found

    def _drop(self, origin: "_Origin") -> None:
        """Close a connection; it opens again when it is next used."""
        self._mine()[origin].close()

    def _drop_all_of_this_thread(self) -> None:
        for connection in self._mine().values():
            connection.close()

    def _next(self, url: str, location: str) -> str:
        """Return where a redirect leads; never from an encrypted connection to a plain one."""
        there = urljoin(url, location)
        scheme = urlsplit(there).scheme
        if (
            not location
            or scheme not in {"http", "https"}
            or (scheme == "http" and url.startswith("https:"))
        ):
            raise SharedTrouble("refused", f"`{self._url}` redirects to `{location}`")
        return there

    def _refused(self, status: int) -> SharedTrouble:
        shown = f"`{self._url}`"
        if status in _DENIED:
            return SharedTrouble(
                "denied",
                f"{shown} may not be read without a login ({status})",
                cure="set `cache.token`, or `cache.headers` to what the server asks for",
            )
        if status in _BUSY:
            return SharedTrouble("slow", f"{shown} is busy ({status})")
        if status >= _FAILED:
            return SharedTrouble("unreachable", f"{shown} failed ({status})")
        return SharedTrouble("refused", f"{shown} refused to be read ({status})")

    def _unreachable(self, error: Exception) -> SharedTrouble:
        shown = f"`{self._url}`"
        if type(error).__name__ in {"SSLError", "SSLCertVerificationError"}:
            return SharedTrouble(
                "refused",
                f"the certificate of {shown} is not trusted",
                cure="set `cache.tls_ca` to the file with your authority's certificate",
            )
        cure = "check the network, the proxy settings and the address"
        if isinstance(error, TimeoutError):
            return SharedTrouble("slow", f"{shown} does not answer in time", cure=cure)
        return SharedTrouble("unreachable", f"{shown} cannot be reached", cure=cure)

    def _readonly(self) -> SharedTrouble:
        return SharedTrouble("readonly", f"`{self._url}` is read-only: it is a web mirror")


@dataclass(frozen=True, slots=True)
class _Origin:
    """A server as connections are made to it."""

    secure: bool
    host: str
    port: int
    authorization: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, parts: SplitResult) -> "_Origin":
        secure = parts.scheme == "https"
        credentials = _basic(parts)
        headers = {"Proxy-Authorization": credentials} if credentials else {}
        return cls(secure, parts.hostname or "", parts.port or (443 if secure else 80), headers)


def open_web(url: str) -> WebBucket:
    """Return the mirror at `http(s)://…`; nothing is sent yet.

    Raises InputError for an address that cannot be meant.
    """
    try:
        parts = urlsplit(url)
        meant = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        meant = False
    if not meant:
        raise InputError(f"`{redacted(url)}` is not an address such as `https://host/path`")
    return WebBucket(url)


def context_of(ca: str, cert: str, key: str) -> ssl.SSLContext | None:
    """Return how a server is to be known and what it is shown, by PEM files; None: as usual.

    Raises InputError for files that cannot be used.
    """
    if not (ca or cert or key):
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert or key:
            context.load_cert_chain(cert or key, key or None)
    except OSError as error:
        named = ", ".join(f"`{one}`" for one in (ca, cert, key) if one)
        raise InputError(
            f"the certificates in {named} cannot be used: {error.strerror or error}",
            hints=("see `cache.tls_ca`, `cache.tls_cert` and `cache.tls_key` in `mlbuild config`",),
        ) from error
    return context


def _basic(parts: SplitResult) -> str:
    """Return the header for the name and password in an address, "" without any."""
    if parts.username is None:
        return ""
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(words.encode()).decode()}"


def _proxy(origin: _Origin) -> _Origin | None:
    """Return the proxy that this machine's settings name for a server."""
    address = getproxies().get("https" if origin.secure else "http", "")
    if not address or proxy_bypass(origin.host):
        return None
    return _Origin.of(urlsplit(address if "//" in address else f"http://{address}"))
