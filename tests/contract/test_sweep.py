"""What a collection of a bucket may take, and what it never takes."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Result
from mlbuild.errors import HostError
from mlbuild.shared.base import Bucket
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.folder import FolderBucket
from mlbuild.shared.layout import ENTRIES, place
from mlbuild.shared.place import place_of
from mlbuild.shared.s3 import S3Bucket
from mlbuild.shared.sweep import CONDEMNED, DAY, GRACE, Sweep, carry_out, plan
from mlbuild.store.disk import DiskStore, open_store

LARGE = b"".join(b"%07d " % at for at in range(400_000))  # chunks
PACKED = b"".join(b"%05d " % at for at in range(20_000))  # a pack


class Team:
    """A bucket, machines that use it, and time that goes by as the test wants."""

    def __init__(self, folder: Path, store: DiskStore, *, bucket: Bucket | None = None) -> None:
        self.root = folder / "bucket"
        self.root.mkdir()
        self.bucket = bucket or FolderBucket(str(self.root))
        self.store = store

    def cache(self, scope: str = "main", *, memo: str = "") -> BucketCache:
        return BucketCache(self.bucket, scope=scope, memo=memo)

    def push(self, name: str, files: dict[str, bytes], *, cache: BucketCache | None = None) -> str:
        """Make and push a result; return its key."""
        out = self.store.scratch() + "/out"
        os.mkdir(out)
        for path, content in files.items():
            Path(out, path).write_bytes(content)
        kept = self.store.ingest(out, [Output(path) for path in files])
        tree, place = self.store.tree(kept.tree), self.store.place(kept.tree)
        assert tree is not None
        assert place is not None
        to = cache or self.cache()
        manifest = name.encode()
        to.send_tree(tree, place)
        log = to.put(f"log of {name}\n".encode() * 20_000)
        key = digest_of(manifest).hash
        to.publish(key, Result(kept.contents, kept.tree, log=log), manifest=manifest)
        return key

    def pulls(self, key: str, *, scope: str = "main") -> bool:
        """Say whether a machine that knows nothing gets the result with all its bytes."""
        cache = self.cache(scope)
        result = cache.lookup(key)
        if result is None:
            return False
        assert result.log is not None
        assert cache.read(result.log) is not None
        return cache.bring_tree(result.tree, self.store.scratch()) is not None

    def later(self, days: float) -> None:
        """Let so many days go by: everything that is there becomes older."""
        for path in self.root.rglob("*"):
            if path.is_file():
                when = path.stat().st_mtime - days * DAY
                os.utime(path, (when, when))
                if path.name == "condemned":
                    path.write_text(_older(path.read_text(), days), encoding="utf-8")

    def objects(self) -> set[str]:
        return {one.name for one in self.bucket.names("") if one.name != CONDEMNED}

    def sweep(self, *, age: float | None = 90 * DAY, grace: float = GRACE) -> Sweep:
        return carry_out(self.bucket, plan(self.bucket, age=age, grace=grace))


def _older(text: str, days: float) -> str:
    head, *lines = text.splitlines()
    pairs = [line.partition(" ") for line in lines]
    moved = [f"{float(since) - days * DAY:.3f} {name}" for since, _, name in pairs]
    return "\n".join([head, *moved, ""])


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with open_store(str(tmp_path / "store")) as store:
        yield Team(tmp_path, store)


def test_what_is_needed_stays_for_as_long_as_results_do(team: Team) -> None:
    key = team.push("a", {"large": LARGE, "packed": PACKED, "small": b"s"})

    for _ in range(8):
        team.later(11)
        removed = team.sweep()
        assert (removed.freed, removed.kept) == (0, 1)

    assert team.pulls(key)


def test_an_old_result_goes_at_once_and_its_bytes_after_the_grace_time(team: Team) -> None:
    old = team.push("old", {"large": LARGE, "packed": PACKED})
    team.later(100)
    new = team.push("new", {"packed": PACKED})

    first = team.sweep()
    team.later(GRACE / DAY - 1)
    second = team.sweep()
    team.later(2)
    third = team.sweep()

    assert [len(one.results) for one in (first, second, third)] == [1, 0, 0]
    assert [bool(one.others) for one in (first, second, third)] == [False, False, True]
    assert first.waiting > 0
    assert third.waiting == 0
    assert not team.pulls(old)
    assert team.pulls(new)


def test_what_the_collecting_machine_uses_is_renewed_and_stays(team: Team) -> None:
    used = team.push("used", {"large": LARGE})
    other = team.push("other", {"large": LARGE, "packed": PACKED})
    team.later(50)

    first = carry_out(team.bucket, plan(team.bucket, age=90 * DAY, used={used}))
    team.later(60)
    second = carry_out(team.bucket, plan(team.bucket, age=90 * DAY, used=set(), grace=0))

    assert [len(one.renewed) for one in (first, second)] == [1, 0]
    assert team.pulls(used)
    assert not team.pulls(other)


def test_nothing_is_left_of_what_nobody_needs(team: Team) -> None:
    team.push("a", {"large": LARGE, "packed": PACKED}, cache=team.cache("pr/7"))
    team.later(30)

    team.sweep(grace=0)

    assert team.objects() == set()


def test_what_a_build_sends_again_after_it_was_condemned_stays(team: Team) -> None:
    team.push("old", {"large": LARGE, "packed": PACKED})
    team.later(100)
    team.sweep()
    team.later(GRACE / DAY + 1)

    # This machine remembers nothing of the bucket: it sends everything, then publishes.
    choice = plan(team.bucket, age=90 * DAY)
    key = team.push("again", {"large": LARGE, "packed": PACKED})
    removed = carry_out(team.bucket, choice)

    assert choice.others
    assert team.pulls(key)
    assert {one.name for one in removed.others} < {one.name for one in choice.others}


def test_what_a_machine_remembers_is_there_when_it_publishes(team: Team, tmp_path: Path) -> None:
    memo = str(tmp_path / "memo")
    team.push("old", {"large": LARGE, "packed": PACKED}, cache=team.cache(memo=memo))
    before = team.objects()
    team.later(100)
    team.sweep()

    team.later(2)
    team.sweep()
    key = team.push("new", {"large": LARGE, "packed": PACKED}, cache=team.cache(memo=memo))
    team.later(GRACE / DAY)
    team.sweep()

    assert team.pulls(key)
    assert {name for name in before if "/chunks/" in name} < team.objects()


def test_uploads_that_are_not_published_yet_stay(team: Team) -> None:
    cache = team.cache()
    cache.put(LARGE)
    count = len(team.objects())

    removed = team.sweep()

    assert removed.others == []
    assert len(team.objects()) == count


def test_a_dry_run_says_what_the_run_then_does(team: Team) -> None:
    team.push("a", {"large": LARGE})
    team.later(100)
    team.push("b", {"packed": PACKED})

    said = plan(team.bucket, age=90 * DAY, grace=0)
    untouched = team.objects()
    did = team.sweep(grace=0)

    assert {one.name for one in (*said.results, *said.others)} == untouched - team.objects()
    assert (did.freed, did.kept, did.before) == (said.freed, said.kept, said.before)


def test_branches_go_sooner_and_main_keeps_what_they_refer_to(team: Team) -> None:
    main = team.push("main", {"large": LARGE, "packed": PACKED})
    team.later(1)
    cache = team.cache("pr/7")
    assert cache.lookup(main)
    branch = team.push("branch", {"large": LARGE, "other": PACKED + b"."}, cache=cache)
    team.later(20)

    team.sweep(grace=0)

    assert not team.pulls(branch, scope="pr/7")
    assert team.pulls(main)
    assert all(name.startswith("main/") for name in team.objects())


def test_the_clock_of_this_machine_does_not_matter(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = team.push("a", {"large": LARGE})
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 400 * DAY)

    removed = team.sweep()

    assert removed.freed == 0
    assert team.pulls(key)


def test_two_sweeps_at_once_do_no_harm(team: Team) -> None:
    old = team.push("old", {"large": LARGE})
    team.later(100)
    new = team.push("new", {"packed": PACKED})

    first, second = (plan(team.bucket, age=90 * DAY, grace=0) for _ in range(2))
    carry_out(team.bucket, first)
    again = carry_out(team.bucket, second)

    assert again.freed == 0
    assert not team.pulls(old)
    assert team.pulls(new)


def test_results_of_a_newer_mlbuild_stop_a_sweep_in_main_only(team: Team) -> None:
    key = digest_of(b"x").hash
    team.bucket.write(f"pr/1/ac/{key[:2]}/{key}", b"mlbuild entry 9 whatever")
    before = team.sweep(grace=0)
    team.bucket.write(f"main/ac/{key[:2]}/{key}", b"mlbuild entry 9 whatever")

    with pytest.raises(HostError) as caught:
        team.sweep(grace=0)

    assert before.kept == 1
    assert "newer mlbuild" in caught.value.message


def test_what_is_not_of_a_shared_cache_is_left_alone(team: Team) -> None:
    names = ["notes.txt", "main/readme", "main/other/ab/abc", "packs/ab/abc"]
    for name in names:
        team.bucket.write(name, b"mine")
    team.later(1000)

    team.sweep(grace=0)

    assert set(names) <= team.objects()


def test_a_damaged_result_needs_nothing_and_ages_like_others(team: Team) -> None:
    key = digest_of(b"x").hash
    team.bucket.write(f"main/ac/{key[:2]}/{key}", b"garbage")

    first = team.sweep(grace=0)
    team.later(100)
    second = team.sweep(grace=0)

    assert (len(first.results), len(second.results)) == (0, 1)


@pytest.mark.parametrize("name", ["weed", "moto"])
def test_a_server_of_objects_is_swept_likewise(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = request.getfixturevalue(name)
    server.use(monkeypatch)
    with (
        closing(S3Bucket(place_of(server.url(server.prefix())), threads=8)) as bucket,
        open_store(str(tmp_path / "store")) as store,
    ):
        team = Team(tmp_path, store, bucket=bucket)
        lost = team.push("lost", {"large": LARGE, "packed": PACKED})
        kept = team.push("kept", {"packed": PACKED})
        bucket.remove([place("main", ENTRIES, lost)])

        waiting = team.sweep(age=None)
        removed = team.sweep(age=None, grace=0)
        again = team.sweep(age=None, grace=0)

        assert (waiting.freed, waiting.condemned == {}) == (0, False)
        assert {one.name.split("/")[1] for one in removed.others} == {"chunks", "blobs"}
        assert (again.freed, again.kept) == (0, 1)
        assert team.pulls(kept)
