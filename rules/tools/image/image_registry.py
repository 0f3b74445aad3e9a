"""Registry: images by digest, over the HTTP API of registries (version 2), as OCI layouts are read.

A name is what `docker pull` takes: `python`, `ghcr.io/owner/image`, `127.0.0.1:5000/image`. A
registry of this host is asked over http, every other one over https. Credentials are those that
`docker login` keeps in `config.json` of $DOCKER_CONFIG.
"""
# ruff: noqa: INP001 - a module of the programs image_pull.py and image_resolve.py

import hashlib
import http.client
import io
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any

from image_archive import CHUNK, DIGEST, INDEXES, ImageError

TIMEOUT = 30.0  # seconds without any byte
ATTEMPTS = 3
PAUSE = 0.5  # seconds before the second attempt; twice that before the third
LARGEST_MANIFEST = 16 << 20  # bytes
HUB, HUB_API = "docker.io", "registry-1.docker.io"
MANIFESTS = (
    *INDEXES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
NAME = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*")
LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")


@dataclass
class Repository:
    """One repository of a registry."""

    host: str  # with its port
    path: str
    auths: Mapping[str, str] = field(default_factory=dict)  # host -> user:password in base64
    token: str = ""  # the header that the registry has asked for

    def request(
        self, kind: str, reference: str, *, accept: str = "*/*"
    ) -> http.client.HTTPResponse:
        """Ask for a manifest or a blob; answer a demand for credentials once. Raises ImageError."""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                return self._asked(kind, reference, accept)
            except urllib.error.HTTPError as error:
                if error.code == HTTPStatus.UNAUTHORIZED and not self.token:
                    self.token = self._authorized(error.headers.get("WWW-Authenticate", ""))
                    error.close()
                    continue
                error.close()
                if error.code < HTTPStatus.INTERNAL_SERVER_ERROR or attempt == ATTEMPTS - 1:
                    raise ImageError(self._refusal(error.code, kind, reference)) from None
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS - 1:
                    cause = error.reason if isinstance(error, urllib.error.URLError) else error
                    raise ImageError(
                        f"the registry `{self.host}` does not answer: {cause}"
                    ) from None
        raise ImageError(self._refusal(HTTPStatus.UNAUTHORIZED, kind, reference))

    def _asked(self, kind: str, reference: str, accept: str) -> http.client.HTTPResponse:
        api = HUB_API if self.host == HUB else self.host
        scheme = "http" if LOCAL.fullmatch(self.host) else "https"
        url = f"{scheme}://{api}/v2/{self.path}/{kind}/{reference}"
        request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - as above
        if self.token:
            request.add_unredirected_header("Authorization", self.token)
        found: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
        return found

    def _authorized(self, demand: str) -> str:
        """Return the header that a registry demands."""
        scheme, _, rest = demand.partition(" ")
        basic = self.auths.get(self.host) or self.auths.get(f"https://{self.host}", "")
        if self.host == HUB:
            basic = self.auths.get("https://index.docker.io/v1/", basic)
        if scheme.lower() == "basic":
            return f"Basic {basic}" if basic else "none"
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = wanted.pop("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(("https://", "http://")):
            raise ImageError(f"the registry `{self.host}` wants credentials of an unknown kind")
        if realm.startswith("http://") and not LOCAL.fullmatch(self.host):
            raise ImageError(f"the registry `{self.host}` wants credentials over plain http")
        wanted.setdefault("scope", f"repository:{self.path}:pull")
        request = urllib.request.Request(f"{realm}?{urllib.parse.urlencode(wanted)}")  # noqa: S310 - as above
        if basic:
            request.add_unredirected_header("Authorization", f"Basic {basic}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
                said = json.load(answer)
            return f"Bearer {said.get('token') or said['access_token']}"
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            raise ImageError(f"the registry `{self.host}` gives no access: {error}") from None

    def _refusal(self, code: int, kind: str, reference: str) -> str:
        name = f"{self.host}/{self.path}"
        if code == HTTPStatus.NOT_FOUND:
            return f"the registry has no {kind.removesuffix('s')} `{reference}` of `{name}`"
        if code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return (
                f"the registry does not let us read `{name}` (it answers {code}): log in with "
                "`docker login`, then set DOCKER_CONFIG to the folder of its config.json"
            )
        return f"the registry answers {code} for `{reference}` of `{name}`"


class Registry:
    """The image of one digest, as the files of an OCI layout."""

    def __init__(self, repository: Repository, digest: str, *, aside: str) -> None:
        self.repository = repository
        self.digest = digest
        self.aside = aside  # where a blob is kept while it is read
        self.manifests = {digest}  # the digests that are not blobs

    def open(self, name: str) -> IO[bytes]:
        """Open what a layout would have under `name`, checked. Raises ImageError."""
        if name == "index.json":
            return io.BytesIO(json.dumps({"manifests": [{"digest": self.digest}]}).encode())
        digest = name.replace("blobs/sha256/", "sha256:")
        if not DIGEST.fullmatch(digest):
            raise ImageError(f"it lacks `{name}`")
        if digest in self.manifests:
            content = self._manifest(digest)
            return io.BytesIO(content)
        return self._blob(digest)

    def _manifest(self, digest: str) -> bytes:
        with self.repository.request("manifests", digest, accept=", ".join(MANIFESTS)) as answer:
            content: bytes = answer.read(LARGEST_MANIFEST)
        check(digest, hashlib.sha256(content).hexdigest())
        for one in manifests_in(content):
            self.manifests.add(one)
        return content

    def _blob(self, digest: str) -> IO[bytes]:
        trouble = ""
        for _ in range(ATTEMPTS):
            found = hashlib.sha256()
            try:
                with (
                    self.repository.request("blobs", digest) as answer,
                    open(self.aside, "wb") as file,
                ):
                    while content := answer.read(CHUNK):
                        found.update(content)
                        file.write(content)
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                trouble = str(error)
                continue
            check(digest, found.hexdigest())
            return open(self.aside, "rb")
        raise ImageError(f"the registry `{self.repository.host}` breaks off: {trouble}")


def manifests_in(content: bytes) -> list[str]:
    """Return the digests that an index names; none of a manifest."""
    try:
        said = json.loads(content)
        return [one["digest"] for one in said.get("manifests") or []]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ImageError("the registry sends a manifest that is malformed") from None


def check(digest: str, found: str) -> None:
    """Refuse bytes that are not what their digest says."""
    if f"sha256:{found}" != digest:
        raise ImageError(f"the registry sends other bytes than `{digest}`: sha256:{found}")


def repository_of(name: str, *, config: str) -> Repository:
    """Return the repository that `docker pull NAME` would ask; `config` is docker's folder."""
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, rest) if is_host else (HUB, name)
    if host in {HUB, f"index.{HUB}"}:
        host, path = HUB, path if "/" in path else f"library/{path}"
    if not NAME.fullmatch(path):
        raise ImageError(f"`{name}` is no name of an image such as `python` or `ghcr.io/a/b`")
    return Repository(host, path, credentials(config))


def credentials(config: str) -> dict[str, str]:
    """Return what `docker login` keeps in its folder, by host; nothing when there is none."""
    try:
        with open(os.path.join(config, "config.json"), encoding="utf-8") as file:
            said: Any = json.load(file)
        auths = said.get("auths") or {}
        return {host: one["auth"] for host, one in auths.items() if one.get("auth")}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def digest_of_tag(name: str, tag: str, *, config: str) -> str:
    """Return the digest that a tag stands for now. Raises ImageError."""
    repository = repository_of(name, config=config)
    with repository.request("manifests", tag, accept=", ".join(MANIFESTS)) as answer:
        content = answer.read(LARGEST_MANIFEST)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
