"""A collection that is killed, and collections and builds at the same time."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.limits import Limits
from mlbuild.core.result import Result
from mlbuild.store import pins
from mlbuild.store.collect import collect
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.files import remove
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


@pytest.mark.parametrize("change", range(1, 50, 3))
def test_a_collection_that_stops_anywhere_takes_nothing_from_a_build(
    tmp_path: Path, change: int
) -> None:
    root = a_store(tmp_path)
    collection = _stopped(lambda: collect_at_once(root, first=partial(stop_at, change)))

    build = _fork(lambda: build_all(root))
    wait_for(lambda: has_ended(build) or is_locked_out(build))
    os.kill(collection, signal.SIGCONT)

    assert [code_of(build), code_of(collection)] == [0, 0]
    with open_store(root) as store:
        assert store.verify().damaged == []
        assert all(holds(store, key_of(at), files) for at, files in enumerate(BUILDS))


@pytest.mark.parametrize("change", range(1, 120, 8))
def test_a_build_that_stops_anywhere_keeps_what_it_has_used(tmp_path: Path, change: int) -> None:
    root = a_store(tmp_path)
    build = _stopped(lambda: build_all(root, first=partial(stop_at, change)))

    collection = _fork(lambda: collect_at_once(root))
    wait_for(lambda: has_ended(collection) or is_locked_out(collection))
    os.kill(build, signal.SIGCONT)

    assert [code_of(build), code_of(collection)] == [0, 0]
    with open_store(root) as store:
        assert store.verify().damaged == []


def test_builds_and_collections_at_once_lose_nothing(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    long_ago = time.time() - 2 * GRACE / 1e9
    builds = [{"f": BYTES[3] + b"%d" % at, "g": b"g", "h": BYTES[at % 5]} for at in range(6)]

    def build() -> None:
        while time.monotonic() < until:
            with open_store(root) as store:
                keys = [publish(store, at, files) for at, files in enumerate(builds)]
                for key, files in zip(keys, builds, strict=True):
                    assert holds(store, key, files), "lost while it was in use"

    def gather() -> None:
        collected = False
        while not collected or time.monotonic() < until:
            with open_store(root) as store:
                now = now_of(store)
                collect(store, plan(survey(root), Limits(size=0), now=now))
            collected = True

    with open_store(root) as store:
        old = [publish(store, at, {"old": b"%d" % at}) for at in range(1000, 1200)]
        for key in old:  # which nobody has used for a long time
            os.utime(f"{root}/ac/{key[:2]}/{key}", (long_ago, long_ago))
    until = time.monotonic() + 3
    pids = [_fork(build), _fork(build), _fork(gather), _fork(gather)]
    codes = [code_of(pid) for pid in pids]

    assert codes == [0, 0, 0, 0]
    with open_store(root) as store:
        assert store.verify().damaged == []
        assert not any(store.lookup(key) for key in old)


def test_builds_and_collections_without_grace_lose_nothing(tmp_path: Path) -> None:
    root = a_store(tmp_path)
    until = time.monotonic() + 5
    pauses = (0.0, 0.005, 0.03)  # in which nobody uses the store, and all of it may go

    def build() -> None:
        for turn in count():
            if time.monotonic() > until:
                return
            time.sleep(pauses[turn % 3])
            build_all(root)

    def gather() -> None:
        while time.monotonic() < until:
            collect_at_once(root)

    pids = [_fork(build), _fork(build), _fork(gather), _fork(gather)]

    assert [code_of(pid) for pid in pids] == [0, 0, 0, 0]
    with open_store(root) as store:
        assert store.verify().damaged == []
        assert os.listdir(f"{root}/quarantine") == []


def test_all_who_make_a_store_at_once_have_one_gate(tmp_path: Path) -> None:
    for turn in range(4):
        root = str(tmp_path / f"store-{turn}")
        ready, go = os.pipe()
        inodes, found = os.pipe()

        def enter(root: str = root, ready: int = ready, found: int = found) -> None:
            os.read(ready, 1)
            with open_store(root):
                os.write(found, b"%d\n" % os.stat(f"{root}/version").st_ino)

        pids = [_fork(enter) for _ in range(6)]
        os.write(go, b"123456")

        assert [code_of(pid) for pid in pids] == [0] * 6
        assert len(set(os.read(inodes, 4096).split())) == 1


BUILDS: list[dict[str, bytes]] = [
    {"f": BYTES[3] + b"%d" % at, "g": b"g", "h": BYTES[at % 5]} for at in range(4)
]


def key_of(at: int) -> str:
    return digest_of(b"%d" % at).hash


def a_store(folder: Path) -> str:
    """Make a store with results that nobody uses any more, and one whose bytes were lost."""
    root = str(folder / "store")
    with open_store(root) as store:
        for at, files in enumerate(BUILDS):
            publish(store, at, files)
        lost = store.lookup(key_of(1))
        assert lost is not None
        remove(f"{store.path(lost.tree)}.stamps")
    return root


def build_all(root: str, *, first: Callable[[], object] = bool) -> None:
    """Find results or make them, and rely on each of them until the end."""
    with open_store(root) as store:
        first()
        for at, files in enumerate(BUILDS):
            if not holds(store, key_of(at), files):
                publish(store, at, files)
        for at, files in enumerate(BUILDS):
            assert holds(store, key_of(at), files), "lost while it was in use"


def collect_at_once(root: str, *, first: Callable[[], object] = bool) -> int:
    """Collect all that nobody uses at this moment; return how many results went."""
    with open_store(root) as store:
        now = now_of(store)
        choice = plan(survey(root), Limits(size=0), now=now, grace=0)
        first()
        return collect(store, choice).results


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def is_locked_out(pid: int) -> bool:
    """Say whether a process waits for a lock."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in locks)


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "it neither ended nor waits for a lock"
        time.sleep(0.002)


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stop_at(change: int) -> None:
    """Have this process stop at its n-th change to the disk from now on."""
    changes = count(1)

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if event in CHANGES and next(changes) == change:
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(watch)


def _stopped(act: Callable[[], object]) -> int:
    """Do `act` in a fork until it stops or ends; return its pid."""
    pid = _fork(act)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return pid


def _fork(act: Callable[[], object]) -> int:
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
