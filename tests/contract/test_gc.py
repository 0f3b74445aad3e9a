"""What a collection of the local store may take, and what it never takes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.limits import Limits
from mlbuild.core.result import Result
from mlbuild.store import pins, uses
from mlbuild.store.blobs import STAMP, is_stamped
from mlbuild.store.collect import Removed, collect, foretold
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.gc import GRACE, Plan, now_of, plan, plan_without
from mlbuild.store.leases import leases
from mlbuild.store.survey import survey

LARGE = b"large " * 20_000  # shares its inode
LATER = GRACE + 60 * 10**9  # ns after which nothing is young any more
EVERYTHING = Limits(size=0)
NOTHING = Limits()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    with open_store(str(tmp_path / "store")) as opened:
        yield opened


def publish(store: DiskStore, name: str, files: dict[str, bytes], *, log: bytes = b"") -> str:
    """Keep a result; return its key."""
    out = store.scratch() + "/out"
    os.mkdir(out)
    for path, content in files.items():
        Path(out, path).write_bytes(content)
    kept = store.ingest(out, [Output(path) for path in files])
    manifest = name.encode()
    key = digest_of(manifest).hash
    result = Result(kept.contents, kept.tree, log=store.put(log) if log else None)
    store.publish(key, result, manifest=manifest)
    return key


def planned(store: DiskStore, limits: Limits = EVERYTHING, *, later: int = LATER) -> Plan:
    """Plan as if `later` ns had gone by, with the leases of others as they are."""
    now = now_of(store) + later
    return plan(survey(store.root), limits, now=now)


def collected(store: DiskStore, limits: Limits = EVERYTHING, *, later: int = LATER) -> Removed:
    return collect(store, planned(store, limits, later=later))


def age(store: DiskStore, key: str, *, seconds: float) -> None:
    """Make a result look as if it had been used last so many seconds ago."""
    path = f"{store.root}/ac/{key[:2]}/{key}"
    when = time.time() - seconds
    os.utime(path, (when, when))


def whole(store: DiskStore, key: str) -> bool:
    """Say whether a result is there with all its bytes."""
    result = store.lookup(key)
    return result is not None and store.complete(result) and store.place(result.tree) is not None


def bytes_left(store: DiskStore) -> dict[str, int]:
    names = ("ac", "trees", "cas", "cas-x")
    return {
        name: sum(len(files) for _, _, files in os.walk(f"{store.root}/{name}")) for name in names
    }


def test_what_nobody_needs_goes_completely(store: DiskStore) -> None:
    publish(store, "a", {"small": b"s", "large": LARGE}, log=b"a log")

    removed = collected(store)

    assert (removed.results, removed.trees, removed.spared) == (1, 1, [])
    assert bytes_left(store) == {"ac": 0, "trees": 0, "cas": 0, "cas-x": 0}
    assert store.manifest(digest_of(b"a").hash) == b"a"


def test_a_recent_result_stays(store: DiskStore) -> None:
    key = publish(store, "a", {"large": LARGE})

    removed = collected(store, later=0)

    assert removed.results == 0
    assert whole(store, key)


def test_a_lookup_keeps_a_result_young(store: DiskStore) -> None:
    old, used = publish(store, "old", {"f": b"1"}), publish(store, "used", {"f": b"2"})
    for key in (old, used):
        age(store, key, seconds=40 * 24 * 3600)

    store.lookup(used)
    collected(store, Limits(age=30 * 24 * 3600), later=0)

    assert store.lookup(old) is None
    assert whole(store, used)


def test_the_least_recently_used_go_first_and_no_more_than_is_needed(store: DiskStore) -> None:
    keys = [publish(store, str(at), {"f": bytes([at]) * 400_000}) for at in range(4)]
    for at, key in enumerate(keys):
        age(store, key, seconds=(10 - at) * 24 * 3600)
    size = survey(store.root).size

    removed = collected(store, Limits(size=size - 500_000))

    assert removed.results == 2
    assert [whole(store, key) for key in keys] == [False, False, True, True]
    assert survey(store.root).size <= size - 500_000


def test_a_dry_run_says_what_the_run_then_does(store: DiskStore) -> None:
    for at in range(3):
        publish(store, str(at), {"small": b"%d" % at, "large": LARGE + b"%d" % at}, log=LARGE)
    size = survey(store.root).size

    said = planned(store, Limits(size=size // 2))
    removed = collected(store, Limits(size=size // 2))

    assert removed == foretold(said)
    assert survey(store.root).size == size - removed.freed


def test_what_two_results_share_stays_with_the_second(store: DiskStore) -> None:
    old = publish(store, "old", {"a": LARGE, "b": b"small"})
    used = publish(store, "used", {"c": LARGE, "d": b"small"})
    age(store, old, seconds=40 * 24 * 3600)

    removed = collected(store, Limits(age=30 * 24 * 3600), later=0)

    # The tree of the old one is as young as its last user might be.
    assert (removed.results, removed.trees, removed.blobs) == (1, 0, 0)
    assert collected(store, NOTHING).blobs == 0
    assert whole(store, used)
    assert store.verify().damaged == []


def test_a_pinned_result_stays_until_it_is_unpinned(store: DiskStore) -> None:
    key = publish(store, "a", {"f": LARGE}, log=LARGE + b"log")
    pins.pin(store.private, "//:a", workspace="/w", keys=[key])

    first = collected(store)
    kept = whole(store, key)
    pins.unpin(store.root, "//:a", workspace="/w")
    age(store, key, seconds=1)
    second = collected(store)

    assert (first.results, kept, second.results) == (0, True, 1)


def test_what_waits_to_be_uploaded_stays(store: DiskStore) -> None:
    key = publish(store, "a", {"f": LARGE})
    os.makedirs(f"{store.root}/uploads/remote")
    Path(store.root, "uploads/remote", key).write_bytes(b"")

    removed = collected(store)

    assert removed.results == 0
    assert whole(store, key)


def test_what_a_workspace_shows_stays_and_goes_with_the_workspace(
    store: DiskStore, tmp_path: Path
) -> None:
    key = publish(store, "a", {"f": LARGE})
    result = store.lookup(key)
    assert result is not None
    out = tmp_path / "workspace" / "mlbuild-out" / "models"
    out.mkdir(parents=True)
    (out / "a").symlink_to(store.path(result.tree))
    uses.note(store.private, workspace=str(tmp_path / "workspace"), request=("//:a",), keys=[])

    first = collected(store)
    kept = whole(store, key)
    (out / "a").unlink()
    second = collected(store)

    assert (first.results, kept, second.results) == (0, True, 1)


def test_what_a_null_build_rests_on_is_as_young_as_the_build(store: DiskStore) -> None:
    key, other = publish(store, "a", {"f": b"1"}), publish(store, "b", {"f": b"2"})
    uses.note(store.private, workspace="/gone", request=("//:a",), keys=[key])
    for one in (key, other):
        age(store, one, seconds=40 * 24 * 3600)

    collected(store, Limits(age=30 * 24 * 3600), later=0)

    assert whole(store, key)
    assert store.lookup(other) is None


def test_nothing_goes_that_was_used_since_the_oldest_build_began(store: DiskStore) -> None:
    code = (
        "import sys; from mlbuild.store.disk import open_store\n"
        f"store = open_store({store.root!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        key = publish(store, "a", {"f": LARGE})

        held = set(leases(store.root)) - {os.getpid()}
        during = collected(store, later=10 * LATER)
        other.kill()
        other.wait()
    after = collected(store, later=10 * LATER)

    assert held == {other.pid}
    assert (during.results, after.results) == (0, 1)
    assert store.lookup(key) is None


def test_what_is_used_between_choice_and_removal_stays(store: DiskStore) -> None:
    keys = [publish(store, str(at), {"f": LARGE + b"%d" % at, "s": b"%d" % at}) for at in range(2)]
    for key in keys:
        age(store, key, seconds=2 * GRACE / 1e9)
    choice = plan(survey(store.root), Limits(age=60), now=now_of(store))

    store.lookup(keys[0])
    removed = collect(store, choice)

    assert removed.results == 1
    assert [whole(store, key) for key in keys] == [True, False]


def test_the_log_of_a_result_that_is_used_in_the_meantime_stays(store: DiskStore) -> None:
    key = publish(store, "a", {"f": b"1"}, log=b"log")
    made = now_of(store)
    while (now := now_of(store)) == made:  # a tick of the clock
        pass
    choice = plan(survey(store.root), EVERYTHING, now=now, grace=0)

    result = store.lookup(key)
    removed = collect(store, choice)

    assert (len(choice.known), removed.results, removed.blobs) == (1, 0, 0)
    assert result is not None
    assert store.complete(result)


def test_the_logs_of_a_running_build_stay_whatever_the_limits_are(store: DiskStore) -> None:
    code = (
        "import sys; from mlbuild.store.disk import open_store\n"
        f"store = open_store({store.root!r}); print(store.run_folder('1'), flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = other.stdout.readline().strip()

        for _ in range(2):
            now = now_of(store)
            collect(store, plan(survey(store.root), Limits(age=0.0), now=now, grace=0))
        kept = os.path.isdir(folder)
        other.communicate()

    assert kept
    collected(store, Limits(age=0.0))
    assert not os.path.lexists(folder)


def test_a_tree_that_a_new_result_names_in_the_meantime_stays(store: DiskStore) -> None:
    publish(store, "old", {"f": LARGE, "s": b"small"}, log=b"log")
    choice = planned(store)

    choice.since = now_of(store)
    key = publish(store, "new", {"f": LARGE, "s": b"small"}, log=b"log")
    removed = collect(store, choice)

    assert (removed.results, removed.trees, removed.blobs) == (1, 0, 0)
    assert whole(store, key)
    assert store.verify().damaged == []


def test_a_large_file_that_a_tree_shared_need_not_be_read_again(store: DiskStore) -> None:
    old = publish(store, "old", {"a": LARGE})
    kept = publish(store, "kept", {"b": LARGE})
    pins.pin(store.private, "//:kept", workspace="/w", keys=[kept])
    age(store, old, seconds=10 * GRACE / 1e9)

    removed = collected(store)

    (blob,) = (path for path in Path(store.root, "cas").glob("*/*") if path.suffix != STAMP)
    assert (removed.results, removed.trees) == (1, 1)
    assert is_stamped(str(blob), blob.lstat())
    assert whole(store, kept)


def test_evicting_takes_a_result_at_once_and_leaves_what_others_share(store: DiskStore) -> None:
    gone = publish(store, "gone", {"a": LARGE, "own": LARGE + b"own"})
    stays = publish(store, "stays", {"b": LARGE})

    choice = plan_without(survey(store.root), [gone], now=now_of(store) + 10**9)
    removed = collect(store, choice)

    assert (removed.results, removed.trees, removed.blobs) == (1, 1, 1)
    assert store.lookup(gone) is None
    assert whole(store, stays)
    assert store.verify().damaged == []


def test_checkpoints_of_running_keys_stay(store: DiskStore) -> None:
    running, dead = digest_of(b"running").hash, digest_of(b"dead").hash
    for key in (running, dead):
        Path(store.checkpoint(key), "state").write_bytes(b"x" * 10_000)
    lock = store.key_lock(running)
    assert lock.try_acquire()

    collected(store)

    assert os.listdir(f"{store.root}/checkpoints") == [running]
    lock.release()


def test_damaged_things_and_old_logs_go_after_a_while(store: DiskStore) -> None:
    places = [Path(store.root, "quarantine", "x"), Path(store.root, "runs", "20200101T000000Z-1")]
    for place in places:
        place.mkdir()
        (place / "f").write_bytes(b"f")
        os.utime(place, (0, 0))

    collected(store, Limits(age=3600.0), later=30 * 24 * 3600 * 10**9)

    assert [place.exists() for place in places] == [False, False]


def test_a_time_in_the_far_future_is_made_now(store: DiskStore) -> None:
    key = publish(store, "a", {"f": b"1"})
    age(store, key, seconds=-400 * 24 * 3600)

    collected(store, NOTHING, later=0)

    path = Path(store.root, "ac", key[:2], key)
    assert path.stat().st_mtime <= time.time() + 1
    assert whole(store, key)


def test_what_killed_builds_left_in_a_workspace_goes(store: DiskStore, tmp_path: Path) -> None:
    state = tmp_path / "workspace" / ".mlbuild"
    (state / "plans").mkdir(parents=True)
    names = ["stat-index", "stat-index.4711", "plans/abc", "plans/abc.12", "plans/abc.12.damaged"]
    for name in names:
        (state / name).write_bytes(b"state")
    uses.note(store.private, workspace=str(tmp_path / "workspace"), request=("//:a",), keys=[])

    young = collected(store, NOTHING, later=0)
    collected(store, NOTHING, later=2 * 24 * LATER)

    left = [str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()]
    assert young.others == 0
    assert sorted(left) == ["plans/abc", "stat-index"]


def test_what_is_remembered_of_workspaces_that_are_gone_goes(store: DiskStore) -> None:
    uses.note(store.private, workspace="/gone", request=("//:a",), keys=["k"])

    collected(store, Limits(age=3600.0), later=30 * 24 * LATER)

    assert list(uses.uses(store.root)) == []


def test_downloads_go_only_while_nobody_else_uses_the_store(store: DiskStore) -> None:
    place = Path(store.root, "downloads", "uv")
    place.mkdir(parents=True)
    (place / "wheel").write_bytes(b"w" * 100_000)
    choice = planned(store)
    code = (
        "import sys; from mlbuild.store.disk import open_store\n"
        f"store = open_store({store.root!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        collect(store, choice)
        during = place.exists()
        other.kill()
        other.wait()
    collect(store, planned(store))

    assert (during, place.exists()) == (True, False)


def test_what_a_shared_cache_had_is_forgotten_with_the_rest(store: DiskStore) -> None:
    path = Path(store.root, "far", "remote", "ab", "ab" + "0" * 62)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"result")

    collected(store, NOTHING)
    kept = path.exists()
    collected(store, Limits(age=60.0))

    assert (kept, path.exists()) == (True, False)
