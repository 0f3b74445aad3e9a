"""What never ends, and what grows: a reader's memory and patience are bounded all the same."""

import http.server
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zstandard

from mlbuild.shared import entry as entries
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.fields import number, sealed
from mlbuild.shared.layout import place_of
from mlbuild.shared.listing import MAGIC, decode_listing, encode_listing
from mlbuild.shared.web import WebBucket
from tests.fault.clouds import (
    KEY,
    Cloud,
    Memory,
    Truth,
    entry_name,
    large_files,
    packed_files,
    small_files,
)

MEMORY = 300 << 20  # bytes that a reader may have at its peak, with Python and all that it imports
SPACE = 2 << 30  # bytes of addresses
GROWN = 1 << 29  # bytes that a bomb becomes
READER = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({SPACE}, {SPACE}))
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.folder import FolderBucket
cache = BucketCache(FolderBucket(sys.argv[1]))
try:
    result = cache.lookup("{KEY}")
    if result is None: print("miss")
    else: print("gone" if cache.bring_tree(result.tree, sys.argv[2]) is None else "true")
except SharedTrouble as trouble: print(trouble.kind)
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(int(peak) * 1024)  # not that of rusage: it begins with what the parent had
"""


def cloud_of(files: dict[str, bytes], folder: Path) -> Cloud:
    cloud = Cloud(Memory(), Truth.of(files, folder))
    cloud.push(cloud.cache())
    return cloud


def nameless_frame() -> bytes:
    """Return a frame that does not say how large it becomes."""
    squeezer = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    pieces = [squeezer.compress(bytes(1 << 20)) for _ in range(GROWN >> 20)]
    return b"".join([*pieces, squeezer.flush()])


def modest_frame(size: int) -> bytes:
    """Return a frame that says it becomes `size` bytes, and becomes far more."""
    frame = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(GROWN)))
    frame[6:10] = size.to_bytes(4, "little")  # after the magic, a descriptor and the window
    assert zstandard.get_frame_parameters(bytes(frame)).content_size == size
    return bytes(frame)


def chunk(cloud: Cloud, frame: bytes) -> None:
    """Let the first chunk be a frame, and the listing say so."""
    now = decode_listing(cloud.listing(), cloud.truth.result.tree)
    (was, *rest), *others = now.chunks
    one = replace(was, stored=len(frame), squeezed=True)
    cloud.bucket.objects[place_of(one, "chunks", scope="main")] = frame
    cloud.forge_listing(encode_listing(replace(now, chunks=((one, *rest), *others))))


def chunk_size(cloud: Cloud) -> int:
    return decode_listing(cloud.listing(), cloud.truth.result.tree).chunks[0][0].size


BOMBS: dict[str, Callable[[Cloud], None]] = {
    "a chunk of unknown size": lambda cloud: chunk(cloud, nameless_frame()),
    "a chunk of another size": lambda cloud: chunk(cloud, modest_frame(chunk_size(cloud))),
    "a listing of unknown size": lambda cloud: cloud.forge_listing(
        sealed(number(20 << 20) + b"\1" + nameless_frame(), magic=MAGIC)
    ),
    "a listing of another size": lambda cloud: cloud.forge_listing(
        sealed(number(20 << 20) + b"\1" + modest_frame(20 << 20), magic=MAGIC)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_no_file_and_takes_little_memory(name: str, tmp_path: Path) -> None:
    cloud = cloud_of(large_files(), tmp_path / "truth")
    BOMBS[name](cloud)

    outcome, peak = read(saved(cloud, tmp_path / "bucket"), tmp_path / "out")

    assert outcome in {"gone", "miss", "damaged"}
    assert peak < MEMORY


@pytest.mark.parametrize("kind", ["ac", "packs", "trees", "chunks"])
def test_an_object_that_never_ends_is_not_read_to_its_end(kind: str, tmp_path: Path) -> None:
    files = large_files() if kind == "chunks" else packed_files()
    if kind == "trees":
        files = {f"out/{at}": b"%d" % at for at in range(2000)}
    cloud = cloud_of(files, tmp_path / "truth")
    (name, *_) = cloud.names(kind)
    bucket = saved(cloud, tmp_path / "bucket")
    with (bucket / name).open("r+b") as file:
        file.truncate(1 << 40)

    outcome, peak = read(bucket, tmp_path / "out")

    assert outcome in {"gone", "miss", "damaged"}
    assert peak < MEMORY


def test_the_truth_is_read_within_the_same_limits(tmp_path: Path) -> None:
    cloud = cloud_of(large_files(), tmp_path / "truth")

    outcome, peak = read(saved(cloud, tmp_path / "bucket"), tmp_path / "out")

    assert outcome == "true"
    assert peak < MEMORY


def saved(cloud: Cloud, folder: Path) -> Path:
    """Put the objects of a cloud into a folder."""
    for name, content in cloud.bucket.objects.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(bucket: Path, out: Path) -> tuple[str, int]:
    """Read a bucket in a process of its own; return what it got and its peak of memory."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READER, str(bucket), str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome, peak = done.stdout.split()
    return outcome, int(peak)


# A server that speaks HTTP, in its way


@dataclass
class Liar:
    """A running server: how to reach it, and how much it has sent."""

    url: str
    sent: int = 0


Answer = Callable[[http.server.BaseHTTPRequestHandler], Iterator[bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[Liar]:
    """Run a server that sends what `answer` yields until it is hung up on."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            try:
                for piece in answer(self):
                    self.wfile.write(piece)
                    liar.sent += len(piece)
            except OSError:
                pass

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        liar = Liar(f"http://127.0.0.1:{server.server_address[1]}/cache")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield liar
        finally:
            server.shutdown()
            thread.join()


def endless(head: bytes, piece: bytes) -> Answer:
    return lambda _: itertools.chain([head], itertools.repeat(piece))


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS: dict[str, Answer] = {
    "a body without a length": endless(OK + b"\r\n", bytes(1 << 16)),
    "a body in chunks": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    ),
    "a body of an exabyte": endless(OK + b"Content-Length: %d\r\n\r\n" % 2**60, bytes(1 << 16)),
    "a body of a negative length": endless(OK + b"Content-Length: -5\r\n\r\n", bytes(1 << 16)),
    "a chunk of an exabyte": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 2**60, bytes(1 << 16)
    ),
    "headers": endless(OK, b"X-More: " + b"x" * 60_000 + b"\r\n"),
    "a line of a header": endless(OK + b"X-More: ", b"x" * (1 << 16)),
    "a first line": endless(b"", b"HTTP" * (1 << 14)),
    "an error": endless(b"HTTP/1.1 500 Sorry\r\n\r\n", bytes(1 << 16)),
    "redirections": lambda _: iter([b"HTTP/1.1 302 Found\r\nLocation: /cache/again\r\n\r\n"]),
    "a redirection to a file": lambda _: iter(
        [b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"]
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_an_end_is_a_miss_or_trouble(name: str) -> None:
    with serving(ENDLESS[name]) as liar:
        cache = BucketCache(WebBucket(liar.url))

        outcome = looked_up(cache)
        cache.close()

    assert outcome in {"miss", "unreachable", "refused", "damaged", "slow"}
    assert liar.sent < entries.LIMIT + (32 << 20)  # and what was on its way


def looked_up(cache: BucketCache) -> str:
    """Return what comes of a lookup: "found", "miss", or the kind of the trouble."""
    try:
        return "miss" if cache.lookup(KEY) is None else "found"
    except SharedTrouble as trouble:
        return trouble.kind


def test_a_mirror_that_is_honest_gives_the_entry(tmp_path: Path) -> None:
    cloud = cloud_of(small_files(), tmp_path / "truth")
    content = cloud.bucket.objects[entry_name(KEY)]
    head = OK + b"Content-Length: %d\r\n\r\n" % len(content)

    with serving(lambda _: iter([head, content])) as liar:
        cache = BucketCache(WebBucket(liar.url))
        found = cache.lookup(KEY)
        cache.close()

    assert found == cloud.truth.result
