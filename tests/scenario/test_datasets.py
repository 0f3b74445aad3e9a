"""Data by content: local with a stated digest, or downloaded, checked and unpacked."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.harness import Build


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - as in the base class
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the URL of a server on this machine and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def archive(folder: Path) -> str:
    """Write `digits.tar.gz` with one folder; return its sha256."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in (("digits/a.txt", b"one\n"), ("digits/b.txt", b"two\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    (folder / "digits.tar.gz").write_bytes(packed.getvalue())
    return hashlib.sha256(packed.getvalue()).hexdigest()


def test_a_download_is_checked_unpacked_and_never_fetched_again(
    build: Build, served: tuple[str, Path]
) -> None:
    url, folder = served
    sha256 = archive(folder)
    build.file(
        "BUILD.ml",
        f'dataset(name = "digits", urls = ["{url}/gone", "{url}/digits.tar.gz"], '
        f'sha256 = "{sha256}", filename = "digits.tar.gz", unpack = True, strip = 1)\n'
        'genrule(name = "sum", srcs = [":digits"], outs = ["sum.txt"], cmd = "cat $</* > $@")\n',
    )
    assert build("//...").ran == ["//:digits", "//:sum"]
    assert build.output("sum/sum.txt") == "one\ntwo\n"

    (folder / "digits.tar.gz").unlink()
    build.edit("BUILD.ml", f"{url}/gone", f"{url}/elsewhere")  # where from is not part of the key

    assert build("//...").ran == []


def test_a_download_with_other_bytes_is_refused_and_names_both_digests(
    build: Build, served: tuple[str, Path]
) -> None:
    url, folder = served
    true = archive(folder)
    build.file(
        "BUILD.ml",
        f'dataset(name = "digits", urls = ["{url}/digits.tar.gz"], sha256 = "{"0" * 64}")\n',
    )

    failed = build.run("//...")

    assert failed.code == 1
    assert true in failed.stderr
    assert "0" * 64 in failed.stderr
    assert build.run("//...").code == 1  # nothing of it was kept


def test_a_stated_digest_holds_the_data_still(build: Build) -> None:
    build.file("data/a.csv", "1\n").file("data/b.csv", "2\n")
    build.file(
        "BUILD.ml",
        f'dataset(name = "table", srcs = ["data"], digest = "blake3:{"0" * 64}")\n'
        'genrule(name = "sum", srcs = [":table"], outs = ["sum.txt"], cmd = "cat $</* > $@")\n',
    )
    failed = build.run("//...")
    assert failed.code == 1
    assert "//:table" in failed.stderr

    found = failed.stderr.partition("the content is blake3:")[2][:64]
    build.edit("BUILD.ml", "0" * 64, found)
    assert build("//...").ran == ["//:sum"]

    build.file("data/b.csv", "3\n")
    again = build.run("//...")
    assert again.code == 1
    assert found in again.stderr


def test_a_folder_of_data_is_used_in_place(build: Build) -> None:
    for number in range(300):
        build.file(f"images/{number % 7}/{number}.txt", f"{number}\n")
    build.file(
        "BUILD.ml",
        'dataset(name = "pictures", srcs = ["images"])\n'
        'genrule(name = "count", srcs = [":pictures"], outs = ["n"], '
        'cmd = "find $< -type f | wc -l > $@; ! touch $</x 2>/dev/null")\n',
    )

    assert build("//...").ran == ["//:count"]

    assert build.output("count/n").strip() == "300"
    build.file("images/3/new.txt", "x")
    assert build("//...").ran == ["//:count"]
    assert build.output("count/n").strip() == "301"
