"""The host in trouble: full disks, limits, permissions, strange stores. Each is a named error."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Result
from mlbuild.errors import HostError
from mlbuild.store.disk import DiskStore, open_store

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def build(store: DiskStore, content: bytes) -> Result:
    scratch = store.scratch()
    try:
        os.mkdir(f"{scratch}/out")
        Path(scratch, "out", "a").write_bytes(content)
        made = store.ingest(f"{scratch}/out", [Output("a")])
        key = digest_of(content).hash
        return store.publish(key, Result(made.contents, made.tree), manifest=content)
    finally:
        store.drop(scratch)


def fill(store: DiskStore) -> None:
    for number in range(20_000):
        store.put(b"%d " % number * 3000)


@root_only
def test_a_full_disk_is_a_named_error_and_then_all_is_whole(small_disk: Path) -> None:
    store = open_store(str(small_disk / "store"))
    first = build(store, b"first")
    with pytest.raises(HostError, match=r"no space is left .* free\)") as caught:
        fill(store)
    assert "MLBUILD_CACHE_DIR" in caught.value.hints[0]
    with pytest.raises(HostError, match="no space"):
        store.publish(digest_of(b"m").hash, first, manifest=bytes(100_000))

    report = store.verify(repair=False)
    assert report.damaged == []
    assert store.place(first.tree) is not None
    store.drop(f"{store.root}/cas")

    build(store, b"second")
    assert store.verify().whole
    store.close()


@root_only
def test_a_read_only_disk_is_a_named_error_but_hits_are_read(small_disk: Path) -> None:
    with open_store(str(small_disk / "store")) as store:
        first = build(store, b"first")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with open_store(str(small_disk / "store")) as store:
        found, place = store.lookup(digest_of(b"first").hash), store.place(first.tree)
        with pytest.raises(HostError, match="read-only"):
            build(store, b"second")

    assert found == first
    assert place is not None


LIMITED = """
import resource, sys
from mlbuild.errors import HostError
from mlbuild.store.disk import open_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
try:
    store.put(b"x" * 60_000)
except HostError as error:
    print(error.message)
"""


def test_a_limit_on_file_sizes_is_a_named_error_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "store"

    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(root)], capture_output=True, text=True, check=True
    )

    assert "would become larger than this host allows" in ran.stdout
    with open_store(str(root)) as store:
        assert store.missing([digest_of(b"x" * 60_000)])
        assert store.verify().damaged == []


# Everything is imported first: the interpreter may lie where that user cannot read.
AS_NOBODY = """
import ctypes, difflib, os, sys
from mlbuild.errors import MlbuildError
from mlbuild.store.disk import open_store
from mlbuild.core.action import Output
os.setgid(65534); os.setuid(65534); os.umask(0o077)
try:
    store = open_store(sys.argv[1])
    exec(sys.argv[2])
except MlbuildError as error:
    print(f"{type(error).__name__}: {error.message}")
"""


def as_nobody(root: Path, code: str = "") -> str:
    """Run `code` with `store` opened by a user without privileges."""
    words = [sys.executable, "-c", AS_NOBODY, str(root), code]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can write, below one that everybody can enter."""
    import tempfile  # noqa: PLC0415 - tmp_path is closed to other users

    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)  # noqa: S103 - the point of it
        yield Path(name)


@root_only
def test_the_store_of_another_user_is_refused(open_folder: Path) -> None:
    root = open_folder / "store"
    for mode in (0o700, 0o777):
        open_store(str(root)).close()
        root.chmod(mode)

        assert "belongs to another user (uid 0)" in as_nobody(root)


@root_only
def test_a_user_without_privileges_can_do_everything(open_folder: Path) -> None:
    code = """
for content in (b"small", b"large" * 20000):
    for _ in range(2):
        scratch = store.scratch(); out = scratch + "/out"
        os.makedirs(out + "/t/d"); open(out + "/t/d/a", "wb").write(content)
        os.mkdir(out + "/junk"); open(out + "/junk/b", "wb").close(); os.mkdir(out + "/t/e")
        for path in ("/t/d/a", "/t/d", "/t/e", "/t", "/junk"):
            os.chmod(out + path, 0)
        made = store.ingest(out, [Output("t", "tree")])
        place = store.place(made.tree, "t")
        assert open(place + "/d/a", "rb").read() == content
        try:
            open(place + "/d/new", "wb")
        except PermissionError:
            pass
        else:
            raise AssertionError("a tree can be written")
    os.chmod(place + "/d/a", 0o600)
    open(place + "/d/a", "wb").write(b"damage")
    print(store.place(made.tree) is not None, made.undeclared)
    store.drop(scratch)
store.verify()
print(store.verify().whole)
store.close()
"""

    said = as_nobody(open_folder / "store", code)

    assert said.splitlines() == [
        "True ('junk/b',)",  # healed from the small blob
        "False ('junk/b',)",  # the large blob was the same inode
        "True",
    ]


@root_only
@pytest.mark.parametrize("closed", ["cas", "trees", "tmp", "locks", "ac"])
def test_a_folder_that_cannot_be_entered_is_named(open_folder: Path, closed: str) -> None:
    code = """
os.chmod(store.root + "/CLOSED", 0)
out = store.scratch() + "/out"; os.mkdir(out); open(out + "/a", "wb").close()
made = store.ingest(out, [Output("a")])
store.key_lock("k" * 64).try_acquire()
store.lookup("k" * 64)
""".replace("CLOSED", closed)

    said = as_nobody(open_folder / "store", code)

    assert said.startswith("HostError: no permission for `")
    assert f"/store/{closed}" in said


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "store"
    open_store(str(root)).close()
    (root / "version").write_text("2\n")
    before = sorted(os.listdir(root))

    with pytest.raises(HostError, match="version '2'"):
        open_store(str(root))

    assert sorted(os.listdir(root)) == before


def test_a_store_open_to_others_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "store"
    open_store(str(root)).close()
    root.chmod(0o755)

    open_store(str(root)).close()

    assert root.stat().st_mode & 0o777 == 0o700


def test_too_many_open_files_are_a_named_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    store = open_store(str(tmp_path / "store"))
    store.put(b"a")
    used = [os.open("/", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used[0] + 1, hard))
    try:
        with pytest.raises(HostError, match="Too many open files"):
            store.put(b"b")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(used[0])

    store.put(b"b")
    store.close()
