"""Finds a file of a package by its hash, where uv's settings say that packages come from."""
# ruff: noqa: INP001 - read by fetch_sources.py, no module of a package

import base64
import hashlib
import html.parser
import json
import netrc
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PUBLIC = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
SOURCES = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
TIMEOUT = 60.0  # seconds without a byte


class NotFoundError(Exception):
    """An index cannot be asked, or does not have the file."""


@dataclass(frozen=True)
class Found:
    """A file in an index. `sha256` is "" where the index does not tell."""

    name: str
    url: str
    sha256: str = ""


def source_file(name: str, version: str, sha256s: set[str], variables: Mapping[str, str]) -> Found:
    """Return the source distribution with one of these hashes. Raises NotFoundError."""
    troubles: list[str] = []
    maybe: list[Found] = []
    for place in places(variables):
        try:
            for found in files_of(name, place):
                if found.name.endswith(SOURCES) and is_of(found.name, name, version):
                    if found.sha256 in sha256s:
                        return found
                    if not found.sha256:
                        maybe.append(found)
        except (OSError, ValueError) as error:
            troubles.append(f"{shown(place)}: {error}")
    if maybe:
        return maybe[0]
    if troubles:
        raise NotFoundError("a package index cannot be reached\n" + "\n".join(troubles))
    raise NotFoundError(
        f"no package index has the source of `{name}=={version}` with the locked hash"
    )


def places(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield folders and URLs of indexes, in uv's order."""
    links = variables.get("UV_FIND_LINKS", "")
    yield from (f"links:{one}" for one in re.split(r"[,\s]+", links) if one)
    if variables.get("UV_OFFLINE", "").lower() in {"1", "true"}:
        return
    indexes = [*variables.get("UV_INDEX", "").split()]
    indexes += variables.get("UV_EXTRA_INDEX_URL", "").split()
    default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or PUBLIC
    for one in (*indexes, default):
        named = re.fullmatch(r"([\w-]+)=(.+)", one)
        yield with_user(named[2], named[1], variables) if named else one


def with_user(url: str, name: str, variables: Mapping[str, str]) -> str:
    """Return the URL of a named index with the name and password that variables give it."""
    prefix = f"UV_INDEX_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
    user = variables.get(f"{prefix}_USERNAME", "")
    if not user:
        return url
    word = urllib.parse.quote(variables.get(f"{prefix}_PASSWORD", ""), safe="")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{urllib.parse.quote(user, safe='')}:{word}@{rest}"


def files_of(name: str, place: str) -> Iterator[Found]:
    """Yield the files of a package at one place."""
    url = place.removeprefix("links:")
    if place.startswith("links:") and "://" not in url:
        for file in sorted(os.listdir(url)) if os.path.isdir(url) else ():
            yield Found(file, "file://" + urllib.parse.quote(os.path.abspath(f"{url}/{file}")))
        return
    page = url if place.startswith("links:") else f"{url.rstrip('/')}/{name}/"
    try:
        with opened(page) as answer:
            base, kind, content = answer.url, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 404:  # noqa: PLR2004 - another index may have it
            return
        raise
    if kind.endswith("json"):
        for file in json.loads(content)["files"]:
            link = urllib.parse.urljoin(base, file["url"])
            yield Found(file["filename"], link, file.get("hashes", {}).get("sha256", ""))
        return
    links = Links()
    links.feed(content.decode("utf-8", "replace"))
    for link in links.found:
        full, _, fragment = urllib.parse.urljoin(base, link).partition("#")
        file = urllib.parse.unquote(full.partition("?")[0].rpartition("/")[2])
        yield Found(file, full, fragment.removeprefix("sha256=") if "sha256=" in fragment else "")


class Links(html.parser.HTMLParser):
    """The links of a page (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link."""
        if tag == "a":
            self.found += [value for key, value in attrs if key == "href" and value]


def opened(url: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - an HTTPResponse or its like
    """Open a URL, with the name and password in it or in ~/.netrc."""
    parts = urllib.parse.urlsplit(url)
    user, word = parts.username or "", urllib.parse.unquote(parts.password or "")
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if not user and parts.hostname:
        try:
            known = netrc.netrc().authenticators(parts.hostname)
        except (OSError, netrc.NetrcParseError):
            known = None
        user, word = (known[0], known[2] or "") if known else ("", "")
    request = urllib.request.Request(bare, headers={"Accept": ACCEPT})  # noqa: S310 - as uv may
    if user:
        text = f"{urllib.parse.unquote(user)}:{word}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(text).decode()}")
    return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - likewise


def is_of(file: str, name: str, version: str) -> bool:
    """Say whether a file name is that of a version of a package."""
    stem = next(file.removesuffix(end) for end in SOURCES if file.endswith(end))
    own, _, number = stem.rpartition("-")
    return re.sub(r"[-_.]+", "-", own).lower() == name and number == version


def shown(place: str) -> str:
    """Return a place without what is secret in it."""
    return re.sub(r"://[^/@]*@", "://", place.removeprefix("links:"))


def download(found: Found, to: str, sha256s: set[str]) -> None:
    """Fetch a file; raise NotFoundError when it is not the one that was locked."""
    taken = hashlib.sha256()
    try:
        with opened(found.url) as answer, open(to, "wb") as file:
            while part := answer.read(1 << 20):
                taken.update(part)
                file.write(part)
    except OSError as error:
        raise NotFoundError(f"`{found.name}` cannot be downloaded: {error}") from error
    if taken.hexdigest() not in sha256s:
        os.remove(to)
        raise NotFoundError(
            f"`{found.name}` is not the one that the lock names: "
            f"its hash is sha256:{taken.hexdigest()}"
        )
