"""A collection that is killed, and collections and builds at the same time."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.limits import Limits
from mlbuild.core.result import Result
from mlbuild.store import pins
from mlbuild.store.collect import collect
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.gc import GRACE, now_of, plan
from mlbuild.store.survey import survey

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.link", "os.mkdir", "os.chmod", "os.utime"}
BYTES = (b"", b"small", b"other", b"large " * 20_000, b"large" * 30_000)

contents = st.dictionaries(st.sampled_from("abc"), st.sampled_from(BYTES), min_size=1, max_size=3)
builds = st.lists(contents, min_size=1, max_size=6)


def publish(store: DiskStore, name: int, files: dict[str, bytes]) -> str:
    """Keep the result of the build number `name`; return its key."""
    out = store.scratch() + "/out"
    os.mkdir(out)
    for path, content in files.items():
        Path(out, path).write_bytes(content)
    kept = store.ingest(out, [Output(path) for path in sorted(files)])
    manifest = b"%d" % name
    log = store.put(b"log of %d" % (name % 2))
    result = Result(kept.contents, kept.tree, log=log)
    store.publish(digest_of(manifest).hash, result, manifest=manifest)
    return digest_of(manifest).hash


def holds(store: DiskStore, key: str, files: dict[str, bytes]) -> bool:
    """Say whether the result is known; fail when it is, and any of its bytes is not right."""
    result = store.lookup(key)
    if result is None or not store.complete(result):
        return False
    place = store.place(result.tree)
    assert place is not None
    assert {path: Path(place, path).read_bytes() for path in os.listdir(place)} == files
    assert result.log is not None
    assert store.read(result.log) is not None
    return True


def killed_at(change: int, act: Callable[[], None]) -> bool:
    """Do `act` in a fork that is killed at its n-th change to the disk; say whether it was."""
    pid = os.fork()
    if pid == 0:
        _suicidal(change, act)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
    return os.WIFSIGNALED(status)


def _suicidal(change: int, act: Callable[[], None]) -> NoReturn:
    count = 0

    def watch(event: str, _: tuple[Any, ...]) -> None:
        nonlocal count
        if event in CHANGES:
            count += 1
            if count == change:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(watch)
        act()
        code = 0
    finally:
        os._exit(code)


def collect_everything(root: str) -> None:
    with open_store(root) as store:
        choice = plan(survey(root), Limits(size=0), now=now_of(store) + 2 * GRACE)
        collect(store, choice)


@settings(max_examples=40, deadline=None)
@given(builds=builds, change=st.integers(1, 80), pinned=st.integers(0, 6))
def test_a_collection_killed_anywhere_leaves_a_store_that_is_right(
    builds: list[dict[str, bytes]], change: int, pinned: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = f"{folder}/store"
        with open_store(root) as store:
            keys = [publish(store, at, files) for at, files in enumerate(builds)]
            pins.pin(store.private, "//:a", workspace="/w", keys=keys[:pinned])

        killed_at(change, lambda: collect_everything(root))

        with open_store(root) as store:
            found = [holds(store, key, files) for key, files in zip(keys, builds, strict=True)]
            assert all(found[:pinned])
            assert store.verify().damaged == []
            again = [publish(store, at, files) for at, files in enumerate(builds)]
            assert again == keys
            assert all(holds(store, key, files) for key, files in zip(keys, builds, strict=True))


def test_a_killed_collection_is_finished_by_the_next(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    sizes = []

    for change in range(1, 200, 7):
        with open_store(root) as store:
            for at, content in enumerate(BYTES):
                publish(store, at, {"f": content, "g": b"g"})
        if not killed_at(change, lambda: collect_everything(root)):
            break
        collect_everything(root)
        names = ("ac", "trees", "cas", "cas-x", "tmp")
        sizes.append(sum(len(files) for name in names for _, _, files in os.walk(f"{root}/{name}")))

    assert len(sizes) > 3
    assert set(sizes) == {0}


def test_builds_and_collections_at_once_lose_nothing(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    until = time.monotonic() + 3
    long_ago = time.time() - 2 * GRACE / 1e9
    builds = [{"f": BYTES[3] + b"%d" % at, "g": b"g", "h": BYTES[at % 5]} for at in range(6)]

    def build() -> None:
        while time.monotonic() < until:
            with open_store(root) as store:
                keys = [publish(store, at, files) for at, files in enumerate(builds)]
                for key, files in zip(keys, builds, strict=True):
                    assert holds(store, key, files), "lost while it was in use"

    def gather() -> None:
        while time.monotonic() < until:
            with open_store(root) as store:
                collect(store, plan(survey(root), Limits(size=0), now=now_of(store)))

    with open_store(root) as store:
        old = [publish(store, at, {"old": b"%d" % at}) for at in range(1000, 1200)]
        for key in old:  # which nobody has used for a long time
            os.utime(f"{root}/ac/{key[:2]}/{key}", (long_ago, long_ago))
    pids = [_fork(build), _fork(build), _fork(gather), _fork(gather)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

    assert codes == [0, 0, 0, 0]
    with open_store(root) as store:
        assert store.verify().damaged == []
        assert not any(store.lookup(key) for key in old)


def _fork(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        act()
        code = 0
    except BaseException as error:  # noqa: BLE001 - shown, as nobody else would
        sys.__stderr__.write(f"{type(error).__name__}: {error}\n")  # type: ignore[union-attr]
    finally:
        os._exit(code)
