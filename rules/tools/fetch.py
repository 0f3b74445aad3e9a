"""Downloads one file, known by its SHA-256, from the first mirror that has it.

usage: MLBUILD_URLS="URL..." fetch.py --sha256 HEX --out FILE

The URLs (http or https, separated by white space) come in a variable since they are no part of
what the file is. A mirror that fails for a moment is asked again; one that sends other bytes, or
says no, is left for the next.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import base64
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from typing import IO

ATTEMPTS = 3  # for each mirror
TIMEOUT = 30.0  # seconds without any byte
PAUSE = 0.5  # seconds before the second attempt; twice that before the third
CHUNK = 1 << 20
PASSING = frozenset({
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
})  # fmt: skip


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """A mirror that there is no point in asking again."""


class Trouble(Exception):  # noqa: N818 - likewise
    """A failure that may pass."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to http or https, never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the next request. Credentials were attached to the first alone and stay there."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in {"http", "https"} or (req.type == "https" and scheme == "http"):
            raise Refused(f"it redirects to {shown(newurl)}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def main() -> None:
    """Ask one mirror after the other."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    sha256, out = options.get("--sha256", "").lower(), options.get("--out", "")
    if not re.fullmatch("[0-9a-f]{64}", sha256) or not out:
        sys.exit("usage: fetch.py --sha256 (64 hex digits) --out FILE")
    urls = os.environ.get("MLBUILD_URLS", "").split()  # noqa: TID251 - a program of its own
    if not urls:
        sys.exit("there is no URL to download from")
    failures = []
    for url in urls:
        try:
            size = download(url, sha256=sha256, out=out)
        except Refused as refusal:
            failures.append(f"{shown(url)}: {refusal}")
            continue
        sys.stdout.write(f"{size} bytes from {shown(url)}\n")
        return
    sys.exit("\n  ".join(["the file could not be downloaded", *failures]))


def download(url: str, *, sha256: str, out: str) -> int:
    """Bring the file from one mirror to `out`; return its size. Raises Refused."""
    trouble = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return transfer(request_for(url), sha256=sha256, out=out)
        except Trouble as error:
            trouble = str(error)
    raise Refused(f"{trouble} ({ATTEMPTS} attempts)")


def request_for(url: str) -> urllib.request.Request:
    """Return the request for a URL, with the user and password in it as a header of its own."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refused("only http and https are known")
    place = parts.netloc.rpartition("@")[2]
    plain = urllib.parse.urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
    request = urllib.request.Request(plain, headers={"User-Agent": "mlbuild"})  # noqa: S310 - checked above
    request.add_header("Accept-Encoding", "identity")
    if parts.username is not None:
        user, password = map(urllib.parse.unquote, (parts.username, parts.password or ""))
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def transfer(request: urllib.request.Request, *, sha256: str, out: str) -> int:
    """Write the answer to `out` if it is what it should be, through a file beside it."""
    partial = f"{out}.partial"
    with open(partial, "wb") as file:
        try:
            found, size = receive(request, file)
            if found != sha256:
                raise Refused(f"it sends another file: sha256 {found}, wanted {sha256}")
            os.replace(partial, out)
        finally:
            if os.path.exists(partial):
                os.remove(partial)
    return size


def receive(request: urllib.request.Request, file: IO[bytes]) -> tuple[str, int]:
    """Write the whole answer to `file`; return its SHA-256 and its size."""
    opener = urllib.request.build_opener(Redirects)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            found, size = copy(answer, file)
            wanted = answer.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        said = f"it answers {error.code} {error.reason}"
        error.close()
        raise (Trouble if error.code in PASSING else Refused)(said) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise Trouble(f"the connection failed: {cause}") from error
    if wanted.isdecimal() and size != int(wanted):
        raise Trouble(f"the connection broke after {size} of {wanted} bytes")
    return found, size


def copy(source: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Copy everything; return its SHA-256 and its size."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
        try:
            target.write(chunk)
            target.flush()
        except OSError as error:  # no fault of the mirror's: asking again will not help
            sys.exit(f"the file cannot be written: {error.strerror}")
    return digest.hexdigest(), size


def shown(url: str) -> str:
    """Return a URL without what may be a secret: user, password, query."""
    parts = urllib.parse.urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit(
        (parts.scheme, place, parts.path, "…" if parts.query else "", "")
    )


if __name__ == "__main__":
    main()
