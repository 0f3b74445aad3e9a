"""`mlbuild cache`, and the garbage collection that happens by itself."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlbuild.cli.cache import VERBS
from mlbuild.cli.options import help_text
from mlbuild.core.limits import Limits
from mlbuild.store.collect import collect
from mlbuild.store.disk import open_store
from mlbuild.store.gc import GRACE, now_of, plan
from mlbuild.store.survey import survey
from tests.harness import Build

DAY = 24 * 3600.0  # seconds


def cache(build: Build, *words: str, code: int = 0) -> dict[str, Any]:
    """Run `mlbuild cache WORDS… --json`; return what it printed."""
    done = build.run("cache", *words, "--json")
    assert done.code == code, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def age(build: Build, *, days: float) -> None:
    """Make everything in the local store look as if it had been used last so many days ago."""
    when = time.time() - days * DAY
    for name in ("ac", "trees", "uses", "cas", "cas-x"):
        for path in (build.cache / name).rglob("*"):
            depth = len(path.relative_to(build.cache / name).parts)
            if path.is_file() and (name != "trees" or depth == 2):
                stamped = not path.name.endswith(".stamp") and path.stat().st_nlink > 1
                if not stamped and not (name == "cas" and path.stat().st_mtime < 10**9):
                    os.utime(path, (when, when))


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture
def chain(build: Build) -> Build:
    """Two targets, one made of the other; built."""
    build.file("in.txt", "one\n").genrule("a", "tr a-z A-Z", "in.txt")
    build.genrule("b", "wc -l", ":a")
    build("//:b")
    return build


@pytest.fixture
def team(chain: Build, tmp_path: Path) -> tuple[Build, Build]:
    """Two checkouts with a store of their own each, and one shared folder."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    other = chain.copy(tmp_path / "other", cache=tmp_path / "other-cache")
    for one in (chain, other):
        one.env |= {
            "MLBUILD_CACHE_URL": f"file://{folder}",
            "MLBUILD_CACHE_WRITE": "always",
            "MLBUILD_CACHE_UPLOAD": "off",
        }
    return chain, other


def test_status_says_what_the_store_holds_and_what_holds_it(chain: Build) -> None:
    cache(chain, "pin", ":b")

    report = cache(chain, "status")
    text = chain.run("cache", "status").stdout

    assert report["results"] == 2
    assert 0 < report["bytes"] < report["max_bytes"]
    assert sum(report["parts"].values()) == report["bytes"]
    assert list(report["workspaces"]) == [str(chain.root)]
    assert [one["label"] for one in report["pins"]] == ["//:b"]
    assert f"store      {chain.cache}" in text
    assert "shared     none" in text


def test_cache_commands_for_the_store_need_no_workspace(chain: Build, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    done = [chain.run("cache", verb, cwd=elsewhere) for verb in ("status", "verify", "gc")]

    assert [one.code for one in done] == [0, 0, 0]


def test_what_a_workspace_shows_survives_every_limit(chain: Build) -> None:
    age(chain, days=400)

    report = cache(chain, "gc", "--max-size", "0", "--max-age", "1 d")

    assert report["results"] == 1  # `a`, which nobody asked for
    assert chain.output("b/b.txt") == "1\n"
    assert chain("//:b").ran == []
    shutil.rmtree(chain.root / ".mlbuild")
    assert chain("//:b").ran == ["//:a"]


def test_a_dry_run_of_a_collection_equals_the_later_run(chain: Build) -> None:
    shutil.rmtree(chain.root / "mlbuild-out")
    age(chain, days=400)

    said = cache(chain, "gc", "--dry-run", "--max-size", "0")
    did = cache(chain, "gc", "--max-size", "0")

    assert {**said, "dry_run": False} == did
    assert did["results"] == 2
    assert chain("//:b").ran == ["//:a", "//:b"]


def test_null_builds_keep_alive_what_they_rest_on(chain: Build) -> None:
    wait_for(lambda: not chain("//:b").ran and _is_recorded(chain))
    age(chain, days=400)

    chain("//:b")  # looks at no result
    report = cache(chain, "gc", "--max-age", "30 days")

    assert report["results"] == 0


def _is_recorded(build: Build) -> bool:
    """Say whether the next identical build will be answered from what was recorded."""
    return any((build.root / ".mlbuild/requests").glob("*"))


def test_a_build_with_a_cleaned_store_builds_the_same(chain: Build) -> None:
    before = chain.output("b/b.txt")
    shutil.rmtree(chain.root / "mlbuild-out")
    age(chain, days=400)

    cache(chain, "gc", "--max-size", "0")
    again = chain("//:b")

    assert again.ran == ["//:a", "//:b"]
    assert chain.output("b/b.txt") == before
    assert cache(chain, "verify")["whole"]


def test_collection_starts_by_itself_when_the_last_was_long_ago(chain: Build) -> None:
    place = chain.cache / "collected"
    young = json.loads(place.read_text())
    shutil.rmtree(chain.root / "mlbuild-out")
    age(chain, days=400)
    os.utime(place, (time.time() - DAY,) * 2)

    chain.genrule("c", "cat", "in.txt")
    chain("//:c")

    wait_for(lambda: "when" in json.loads(place.read_text()))
    assert young == {}
    assert json.loads(place.read_text())["results"] == 2
    assert cache(chain, "status")["collected"]["results"] == 2


def test_a_collection_in_the_middle_of_a_build_takes_nothing_from_it(
    build: Build, tmp_path: Path
) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    build.file("in.txt", "one\n").genrule("a", "tr a-z A-Z", "in.txt")
    wait = f"(touch {started}; until [ -e {go} ]; do sleep 0.02; done; cat)"
    build.genrule("b", wait, ":a").genrule("c", "wc -l", ":a", ":b")
    build.flags = ["--executor", "process"]
    build("//:a")
    running = build.start("build", "--json", "--executor", "process", "//:c")
    wait_for(started.exists)

    with open_store(str(build.cache)) as store:
        hours_later = now_of(store) + 100 * GRACE
        shutil.rmtree(build.root / "mlbuild-out")
        collect(store, plan(survey(store.root), Limits(size=0), now=hours_later))
    go.touch()
    stdout, stderr = running.communicate(timeout=120)

    assert running.returncode == 0, stderr
    assert json.loads(stdout)["ran"] == ["//:b", "//:c"]
    assert cache(build, "verify")["whole"]


def test_no_collection_starts_where_nothing_is_limited(chain: Build) -> None:
    place = chain.cache / "collected"
    os.utime(place, (1, 1))
    chain.env |= {"MLBUILD_CACHE_MAX_SIZE": "none", "MLBUILD_CACHE_MAX_AGE": "none"}

    chain.edit("in.txt", "one", "two")
    chain("//:b")

    assert place.stat().st_mtime == 1


def test_a_pinned_target_outlives_its_own_change(chain: Build) -> None:
    cache(chain, "pin", "//:b")
    chain.edit("in.txt", "one", "two")
    chain("//:b")
    age(chain, days=400)
    cache(chain, "gc", "--max-size", "0")

    chain.edit("in.txt", "two", "one")
    back = chain("//:b")

    assert back.ran == []


def test_an_unpinned_target_goes(chain: Build) -> None:
    cache(chain, "pin", ":b")
    shutil.rmtree(chain.root / "mlbuild-out")

    assert cache(chain, "unpin", ":b") == {"unpinned": ["//:b"]}
    again = chain.run("cache", "unpin", ":b")
    age(chain, days=400)

    assert again.code == 2
    assert "`//:b` is not pinned" in again.stderr
    assert cache(chain, "gc", "--max-size", "0")["results"] == 2


def test_an_evicted_target_runs_again_and_nothing_else(chain: Build) -> None:
    report = cache(chain, "evict", ":b")

    assert report["results"] == 1
    assert report["freed"] > 0
    assert not (chain.root / "mlbuild-out/b").exists()
    assert chain("//:b").ran == ["//:b"]


def test_a_pinned_target_is_not_evicted(chain: Build) -> None:
    cache(chain, "pin", ":b")

    done = chain.run("cache", "evict", ":a")

    assert done.code == 2
    assert "`//:b`" in done.stderr
    assert "mlbuild cache unpin //:b" in done.stderr


def test_verify_finds_and_heals_damage(chain: Build) -> None:
    blob = next((chain.cache / "cas").glob("*/*"))
    blob.chmod(0o644)
    blob.write_bytes(b"damage")

    said = cache(chain, "verify", "--dry-run", code=1)
    found = cache(chain, "verify", code=1)
    after = cache(chain, "verify")

    assert len(said["damaged"]) == len(found["damaged"]) == 1
    assert after["whole"]


def test_push_and_pull_carry_a_target_from_machine_to_machine(team: tuple[Build, Build]) -> None:
    here, there = team

    pushed = cache(here, "push", ":b")
    pulled = cache(there, "pull", ":b")
    there.env["MLBUILD_CACHE_READ"] = "false"
    built = there("//:b")

    assert (pushed["pushed"], pushed["left"]) == (2, 0)
    assert (pulled["pulled"], pulled["missing"]) == (["//:b"], [])
    assert pulled["down"] > 0
    assert "//:b" not in built.ran


def test_what_is_not_in_the_shared_cache_is_said_and_not_built(team: tuple[Build, Build]) -> None:
    _, there = team

    done = there.run("cache", "pull", ":b")

    assert done.code == 2
    assert "`//:b` is not in the shared cache" in done.stderr
    assert cache(there, "status")["results"] == 0


def test_push_needs_a_result_and_the_right_to_write(team: tuple[Build, Build]) -> None:
    here, there = team

    unbuilt = there.run("cache", "push", ":b")
    here.env["MLBUILD_CACHE_WRITE"] = "never"
    forbidden = here.run("cache", "push", ":b")

    assert (unbuilt.code, forbidden.code) == (2, 2)
    assert "has no result in the local store" in unbuilt.stderr
    assert '`cache.write = "never"`' in forbidden.stderr


def test_evict_remote_forgets_it_everywhere(team: tuple[Build, Build]) -> None:
    here, there = team
    cache(here, "push", ":b")

    report = cache(here, "evict", ":b", "--remote")

    assert report["remote"] == 1
    assert there.run("cache", "pull", ":b").code == 2
    assert here("//:b").ran == ["//:b"]


def test_collecting_the_shared_cache_says_the_same_before_and_after(
    team: tuple[Build, Build], tmp_path: Path
) -> None:
    here, there = team
    cache(here, "push", ":b")
    young = cache(here, "gc", "--remote", "--dry-run")
    for path in (tmp_path / "bucket").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 100 * DAY,) * 2)

    words = ("gc", "--remote", "--max-age", "90 days", "--grace", "0 d")
    used = cache(here, *words, "--dry-run")
    said = cache(there, *words, "--dry-run")
    did = cache(there, *words)

    assert (young["results"], young["kept"]) == (0, 2)
    assert (used["results"], used["renewed"]) == (0, 2)
    assert {**said, "dry_run": False} == did
    assert did["results"] == 2
    assert there.run("cache", "pull", ":b").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cache",), "say what to do with the cache"),
        (("cache", "stat"), "did you mean `status`?"),
        (("cache", "pin"), "no target is named"),
        (("cache", "gc", "--max-size", "lots"), "`50 GiB`"),
        (("cache", "gc", "--remote"), "no shared cache is set"),
        (("cache", "gc", "--grace", "1 d"), "goes with `--remote`"),
        (("cache", "push", ":b"), "no shared cache is set"),
        (("cache", "status", "--dry-run"), "`mlbuild cache status` has no option `--dry-run`"),
        (("cache", "evict", ":nothing"), "nothing"),
    ],
)
def test_wrong_words_are_answered_kindly(build: Build, words: tuple[str, ...], said: str) -> None:
    build.file("in.txt", "one\n").genrule("b", "cat", "in.txt")

    done = build.run(*words)

    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_every_verb_has_a_help_of_its_own(build: Build) -> None:
    whole, gc = build.run("cache", "--help"), build.run("-C", ".", "cache", "gc", "--help")

    assert (whole.code, gc.code) == (0, 0)
    assert gc.stdout.startswith("usage: mlbuild cache gc [OPTION]…")
    for usage in VERBS:
        verb = usage.command.removeprefix("cache ")
        assert f"\n  {verb}" in whole.stdout
        assert help_text(usage).startswith(f"usage: mlbuild cache {verb}")
