"""What every Bucket promises: a folder, two servers of objects, and web servers as far as read."""

import http.server
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from mlbuild.shared.base import Bucket, SharedTrouble
from mlbuild.shared.folder import FolderBucket
from mlbuild.shared.place import place_of
from mlbuild.shared.s3 import S3Bucket
from mlbuild.shared.web import WebBucket, open_web

WRITABLE = ["folder", "weed", "moto"]
CONTENTS = [b"", b"small\r\n\0", bytes(range(256)) * 12_000]
ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Two:
    """Two ways to the same objects; one of them may only read."""

    writer: Bucket
    reader: Bucket


@pytest.fixture(params=WRITABLE)
def bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    if request.param == "folder":
        yield FolderBucket(str(tmp_path))
        return
    server = request.getfixturevalue(request.param)
    server.use(monkeypatch)
    # Pages of a few objects, so that few are many.
    made = S3Bucket(place_of(server.url(server.prefix())), threads=8, batch=4)
    yield made
    made.close()


@pytest.fixture(params=[*WRITABLE, "web", "web without ranges"])
def two(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Two]:
    if request.param == "web without ranges":
        folder = FolderBucket(str(tmp_path))
        with plain_server(tmp_path) as address:
            mirror = open_web(address)
            yield Two(folder, mirror)
            mirror.close()
        return
    if request.param == "web":
        server = request.getfixturevalue("weed")
        server.use(monkeypatch)
        prefix = server.prefix()
        writer = S3Bucket(place_of(server.url(prefix)), threads=8)
        mirror = open_web(f"{server.web}/{prefix}")
        yield Two(writer, mirror)
        writer.close()
        mirror.close()
        return
    if request.param == "folder":
        yield Two(FolderBucket(str(tmp_path)), FolderBucket(str(tmp_path)))
        return
    server = request.getfixturevalue(request.param)
    server.use(monkeypatch)
    made = S3Bucket(place_of(server.url(server.prefix())), threads=8)
    yield Two(made, made)
    made.close()


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does: without ranges, a connection per answer."""
    serve = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        del format, args


# -- reading


def test_what_was_written_is_read(two: Two) -> None:
    for number, content in enumerate(CONTENTS):
        two.writer.write(f"packs/ab/{number}", content)

    assert [two.reader.read(f"packs/ab/{n}") for n in range(len(CONTENTS))] == CONTENTS
    assert two.reader.read("packs/ab/2", limit=len(CONTENTS[2])) == CONTENTS[2]


def test_what_is_not_there_is_none(two: Two) -> None:
    two.writer.write("packs/ab/other", b"x")

    assert two.reader.read("packs/ab/absent") is None
    assert two.reader.read("packs/ab/absent", start=5, size=5) is None
    assert two.reader.read("nowhere") is None


def test_a_part_is_read(two: Two) -> None:
    two.writer.write("letters", ALPHABET)
    parts = [(0, 3), (2, 5), (20, 6), (20, 99), (5, -1), (0, 0), (3, 0), (26, -1), (40, 2)]

    found = [two.reader.read("letters", start=start, size=size) for start, size in parts]

    assert found == [ALPHABET[start:][: size if size >= 0 else None] for start, size in parts]


def test_more_than_the_limit_is_damage(two: Two) -> None:
    two.writer.write("letters", ALPHABET)

    with pytest.raises(SharedTrouble) as caught:
        two.reader.read("letters", limit=25)

    assert caught.value.kind == "damaged"
    assert two.reader.read("letters", limit=26) == ALPHABET


def test_many_threads_read_at_once(two: Two) -> None:
    for number in range(8):
        two.writer.write(f"many/{number}", b"%d" % number * 100_000)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: two.reader.read(f"many/{n % 8}"), range(40)))

    assert found == [b"%d" % (n % 8) * 100_000 for n in range(40)]


# -- writing


def test_a_second_write_replaces_the_first(bucket: Bucket) -> None:
    bucket.write("a/b", b"first")

    assert bucket.write("a/b", b"second")

    assert bucket.read("a/b") == b"second"


def test_a_fresh_write_leaves_what_is_there(bucket: Bucket) -> None:
    assert bucket.write("ac/key", b"first", fresh=True)

    assert not bucket.write("ac/key", b"second", fresh=True)

    assert bucket.read("ac/key") == b"first"


def test_of_many_fresh_writes_at_once_one_wins(bucket: Bucket) -> None:
    contents = [b"%d" % number * 1000 for number in range(8)]
    together = threading.Barrier(len(contents))

    def write(content: bytes) -> bool:
        together.wait()
        try:
            return bucket.write("ac/raced", content, fresh=True)
        except SharedTrouble as error:
            assert error.kind == "slow"  # noqa: PT017 - a server may ask to come again
            return False

    with ThreadPoolExecutor(len(contents)) as pool:
        won = list(pool.map(write, contents))

    assert won.count(True) == 1
    assert bucket.read("ac/raced") == contents[won.index(True)]


# -- listing and removing


def test_a_listing_has_every_object_of_a_prefix(bucket: Bucket) -> None:
    for name in ["ac/1", "ac/2", "acx/3", *(f"packs/{number}" for number in range(9))]:
        bucket.write(name, name.encode())

    assert sorted((o.name, o.size) for o in bucket.names("ac/")) == [("ac/1", 4), ("ac/2", 4)]
    assert sorted(o.name for o in bucket.names("packs/")) == [f"packs/{n}" for n in range(9)]
    assert len(list(bucket.names(""))) == 12
    assert list(bucket.names("nowhere/")) == []


def test_a_listing_says_when_objects_were_written(bucket: Bucket) -> None:
    before = time.time()
    bucket.write("a", b"1")

    (found,) = bucket.names("a")

    assert before - 2 <= found.modified <= time.time() + 2  # some keep whole seconds


def test_objects_are_removed_whether_they_are_there_or_not(bucket: Bucket) -> None:
    for number in range(10):
        bucket.write(f"old/{number}", b"x")

    bucket.remove([f"old/{number}" for number in range(1, 12)])
    bucket.remove([])

    assert [o.name for o in bucket.names("old/")] == ["old/0"]


def test_a_closed_bucket_opens_again_when_it_is_used(bucket: Bucket) -> None:
    bucket.write("a", b"1")

    bucket.close()

    assert bucket.read("a") == b"1"


# -- web mirrors


def test_a_web_mirror_refuses_what_it_cannot_do(mirror: WebBucket) -> None:
    for forbidden in (
        lambda: mirror.write("a", b"1"),
        lambda: mirror.remove(["a"]),
        lambda: list(mirror.names("")),
    ):
        with pytest.raises(SharedTrouble) as caught:
            forbidden()

        assert caught.value.kind == "readonly"


@pytest.fixture
def mirror() -> WebBucket:
    return open_web("http://127.0.0.1:9/mirror")
