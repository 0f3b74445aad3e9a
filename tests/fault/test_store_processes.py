"""Several processes on one store, some of them killed; and a power cut."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Result
from mlbuild.store import sidecar
from mlbuild.store.disk import DiskStore, open_store

# One process that builds "actions" 0..N over and over and checks all that it gets.
WORKER = """
import os, random, sys
from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Result
from mlbuild.store.checkout import checkout
from mlbuild.store.disk import open_store

root, seed, rounds, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
random.seed(seed)
store = open_store(root)
print("ready", flush=True)
for _ in range(rounds):
    number = random.randrange(12)
    content = b"%d " % number * (size // 2 if number % 2 else 5)
    manifest = b"action %d" % (number // 2)  # two actions make two results of one key
    key = digest_of(manifest).hash
    found = store.lookup(key)
    place = store.place(found.tree) if found and store.complete(found) else None
    if place is None:
        with store.key_lock(key) as lock:
            assert lock.acquire(60.0)
            lock.announce("/log")
            scratch = store.scratch()
            os.mkdir(scratch + "/out")
            with open(scratch + "/out/a", "wb") as opened:
                opened.write(content)
            made = store.ingest(scratch + "/out", [Output("a")])
            store.drop(scratch)
            found = store.publish(key, Result(made.contents, made.tree), manifest=manifest)
            place = store.place(found.tree)
    assert place is not None, "a fresh result is not there"
    with open(place + "/a", "rb") as opened:
        read = opened.read()
    assert digest_of(read) == found.outputs[0][1].digest, "wrong bytes"
    checkout(store, out_root=root + "/../out", package_target="p/t%d" % number, tree=found.tree)
    if random.random() < 0.1:
        store.sync()
store.close()
"""


def worker(root: Path, *, seed: int, rounds: int, size: int = 80_000) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WORKER, str(root), str(seed), str(rounds), str(size)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_clean(root: Path) -> None:
    """Whole, and with nothing left of those who are gone."""
    with open_store(str(root)) as store:
        report = store.verify(repair=False)
        assert report.damaged == []
        assert os.listdir(root / "locks") == []
        names = {name.split("-", 1)[0] for name in os.listdir(root / "tmp")}
        assert names <= {str(os.getpid())}
    assert os.listdir(root / "quarantine") == []


def test_many_processes_at_once_see_right_bytes_only(tmp_path: Path) -> None:
    root = tmp_path / "store"
    workers = [worker(root, seed=seed, rounds=150) for seed in range(5)]

    ends = [(*process.communicate(timeout=120), process.returncode) for process in workers]

    assert [(error, code) for _, error, code in ends] == [("", 0)] * 5
    assert_clean(root)


def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "store"
    random = Random(3)  # noqa: S311 - not for secrets
    killed = 0
    for seed in range(25):
        process = worker(root, seed=seed, rounds=100_000)
        assert process.stdout is not None
        process.stdout.readline()
        before = published(root)
        time.sleep(random.random() * 0.05)

        process.kill()
        process.communicate()

        killed += process.returncode == -signal.SIGKILL
        assert before <= published(root)
        assert_clean(root)
    assert killed == 25


def published(root: Path) -> set[str]:
    return {path.name for path in (root / "ac").glob("*/*")}


def test_a_killed_holder_of_a_lock_blocks_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, time; from mlbuild.store.disk import open_store\n"
        "lock = open_store(sys.argv[1]).key_lock('k')\n"
        "assert lock.try_acquire(); lock.announce('/its/log'); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    with open_store(str(tmp_path / "store")) as store:
        holder = subprocess.Popen(
            [sys.executable, "-c", code, store.root], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        lock = store.key_lock("k")
        logs: list[str] = []
        assert not lock.acquire(0.05, logs.append)
        assert logs[-1] == "/its/log"

        holder.kill()
        holder.communicate()

        assert lock.try_acquire()
        lock.release()
        assert os.listdir(f"{store.root}/locks") == []


def test_a_living_process_keeps_its_scratch(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store")) as store:
        scratch = store.scratch()

        code = (
            "import sys; from mlbuild.store.disk import open_store; open_store(sys.argv[1]).close()"
        )
        subprocess.run([sys.executable, "-c", code, store.root], check=True)

        assert os.path.isdir(scratch)


# -- power cuts: what was written since the last sync may be anything


def build(store: DiskStore, content: bytes) -> tuple[str, Result]:
    out = store.scratch() + "/out"
    os.mkdir(out)
    Path(out, "a").write_bytes(content)
    made = store.ingest(out, [Output("a")])
    key = digest_of(b"m" + content[:9]).hash
    return key, store.publish(key, Result(made.contents, made.tree), manifest=b"m" + content[:9])


def lose(path: str) -> None:
    """Replace the bytes of a file by zeros, as a disk that never got them, with no other trace."""
    size = os.path.getsize(path)
    mode = os.stat(path).st_mode & 0o777
    os.chmod(path, 0o600)
    Path(path).write_bytes(bytes(size))
    os.chmod(path, mode)
    os.utime(path, ns=(315_532_800 * 10**9,) * 2)


def restamp(place: str, name: str) -> None:
    """Make the stamps of a tree match what is there now."""
    old = sidecar.unpack(Path(place + ".stamps").read_bytes(), name=name)
    assert old is not None
    fd = os.open(place, os.O_RDONLY)
    columns = sidecar.take_columns(fd, old.paths)
    os.close(fd)
    assert columns is not None
    new = sidecar.pack(sidecar.Sidecar(old.paths, columns, old.encoded))
    Path(place + ".stamps").write_bytes(new)


def cut_power(root: Path) -> None:
    """Make this boot's markers look like another boot's."""
    here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for path in (root / "tmp").iterdir():
        path.rename(path.with_name(path.name.replace(here, "0" * 36)))


def markers(root: Path) -> list[Path]:
    return list(root.joinpath("tmp").glob("*.unsynced"))


@pytest.mark.parametrize("content", [b"small one", b"large one" * 30_000])
def test_after_a_power_cut_lost_bytes_are_a_miss(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "store"
    store = open_store(str(root))
    key, result = build(store, content)
    place = store.path(result.tree)
    blob = digest_of(content).hash
    lose(f"{place}/a")
    if len(content) < 65_536:
        lose(f"{root}/cas/{blob[:2]}/{blob}")
    restamp(place, result.tree.hash)
    assert store.place(result.tree) is not None  # positive control: no stamp tells
    cut_power(root)

    with open_store(str(root)) as after:
        found = after.lookup(key)
        assert found is not None
        assert not after.complete(found)
        assert after.place(found.tree) is None
        assert after.read(digest_of(content)) is None
        assert build(after, content)[1].tree == result.tree
        assert after.place(result.tree) is not None
    assert markers(root) == []


def test_what_was_synced_is_not_read_again_after_a_power_cut(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = open_store(str(root))
    _, old = build(store, b"old")
    store.close()
    store = open_store(str(root))
    build(store, b"new")
    marker = markers(root)[0]
    later = os.stat(store.path(old.tree)).st_ctime_ns + 3600 * 10**9
    os.utime(marker, ns=(later, later))  # as if `old` had been written an hour before
    cut_power(root)
    place = store.path(old.tree)
    lose(f"{place}/a")
    restamp(place, old.tree.hash)

    with open_store(str(root)) as after:
        assert after.place(old.tree) is not None


def test_a_sync_removes_the_marker_and_a_write_brings_it_back(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with open_store(str(root)) as store:
        assert len(markers(root)) == 0
        store.put(b"a")
        assert len(markers(root)) == 1
        store.sync()
        assert len(markers(root)) == 0
        store.put(b"b")
        assert len(markers(root)) == 1
    assert len(markers(root)) == 0
