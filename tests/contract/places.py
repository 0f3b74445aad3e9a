"""Places that several machines share, one for each kind of shared cache: the real things."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlbuild.shared.base import Bucket, Shared
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.entry import Judge, Signer
from mlbuild.shared.folder import FolderBucket
from mlbuild.shared.place import place_of
from mlbuild.shared.reapi import open_reapi
from mlbuild.shared.s3 import S3Bucket

BUCKETS = ["folder", "weed", "moto"]
SERVERS = ["casd", "buildgrid"]  # that speak the Remote Execution API
KINDS = [*BUCKETS, *SERVERS]


@dataclass
class Place:
    """Somewhere that machines share what they made; each has a memo of its own."""

    kind: str
    memos: Path
    opened: Callable[[], Bucket] | None = None  # a connection to the bucket
    url: str = ""  # of a server that speaks the Remote Execution API
    apart: str = ""  # what its scopes begin with: other tests use the server too
    reports: list[tuple[str, bytes, str]] = field(default_factory=list)
    machines: list[Shared] = field(default_factory=list)

    def machine(
        self,
        name: str = "",
        *,
        scope: str = "main",
        read_scopes: tuple[str, ...] = (),
        signer: Signer | None = None,
        judge: Judge | None = None,
    ) -> Shared:
        """Return the cache as a machine sees it; one of the same name as before has its memo."""
        made: Shared
        if self.opened is not None:
            made = BucketCache(
                self.opened(),
                scope=scope,
                read_scopes=read_scopes,
                memo=str(self.memos / (name or f"m{len(self.machines)}")),
                signer=signer,
                judge=judge,
                report=self._report,
            )
        else:
            wanted = read_scopes or (scope, "main")
            made = open_reapi(
                self.url,
                scope=self.apart + scope,
                read_scopes=tuple(self.apart + one for one in dict.fromkeys(wanted)),
                signer=signer,
                judge=judge,
                report=self._report,
            )
        self.machines.append(made)
        return made

    @property
    def bucket(self) -> Bucket:
        """The bucket as who manages it sees it."""
        assert self.opened is not None
        return self.opened()

    def names(self, part: str = "") -> list[str]:
        """Return the names of all objects in the bucket that have `part` in them."""
        return sorted(it.name for it in self.bucket.names("") if part in it.name)

    def _report(self, name: str, content: bytes, why: str) -> None:
        self.reports.append((name, content, why))


@contextmanager
def shared_place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Yield an empty place of a kind."""
    memos = tmp_path / "memos"
    if kind == "folder":
        share = tmp_path / "share"
        share.mkdir()
        place = Place(kind, memos, lambda: FolderBucket(str(share)))
    elif kind in BUCKETS:
        server = request.getfixturevalue(kind)
        server.use(request.getfixturevalue("monkeypatch"))
        url = server.url(server.prefix())
        place = Place(kind, memos, lambda: S3Bucket(place_of(url), threads=4))
    else:
        server = request.getfixturevalue(kind)
        place = Place(kind, memos, url=server.url, apart=f"{server.scope()}-{os.getpid()}/")
    yield place
    for machine in place.machines:
        machine.close()
