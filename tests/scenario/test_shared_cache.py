"""Machines that share a cache: each a workspace and a local store of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, Build
from tests.keys.subject import lock, wheel
from tests.processes import has_ended
from tests.proxy import Fault, of, proxy
from tests.reapi_servers import CacheServer
from tests.servers import ObjectServer

SECONDS = 30.0  # patience with a busy machine
SCRIPTED = """
python_environment(name = "env", lock = "requirements.lock")
process(name = "it", script = "it.py", environment = ":env", outs = ["out"])
"""
SCRIPT = """
import os, tiny
open(os.path.join(os.environ["MLBUILD_OUT"], "out"), "w").write(str(tiny.VALUE))
"""
LARGE = 100_000  # bytes of an output that does not travel with its entry


def until(found: Callable[[], object], what: str) -> None:
    """Wait until `found` answers with something."""
    end = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def sharing(build: Build, url: str, *, upload: str = "wait") -> Build:
    """Let a machine use the shared cache at `url`."""
    build.flags = ["--cache-url", url, "--cache-write", "always", "--upload", upload]
    return build


def on(build: Build, server: ObjectServer, prefix: str = "") -> None:
    """Let a machine share a bucket of a server."""
    sharing(build, f"s3://cache/{prefix or server.prefix()}")
    build.env |= server.environment()
    build.env |= {"AWS_ENDPOINT_URL": server.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a shared cache."""
    place = tmp_path / "shared"
    place.mkdir()
    return place


@pytest.fixture
def first(build: Build, folder: Path) -> Build:
    """Return a machine that shares with all its `another`s."""
    return sharing(build, f"file://{folder}")


def another(build: Build, name: str = "second") -> Build:
    """Return one more machine with the same files and settings."""
    return build.copy(build.root.parent / name, cache=build.root.parent / f"{name}-store")


def chain(build: Build, length: int) -> list[str]:
    """Declare targets that each read the one before; return their labels."""
    for number in range(length):
        before = [f":c{number - 1}"] if number else []
        noise = f"(head -c 1000; yes {number} | head -c {LARGE})"
        build.genrule(f"c{number}", noise, *before)
    return [f"//:c{number}" for number in range(length)]


def trees(build: Build) -> int:
    """Return how many trees the local store of a machine has."""
    return len(list((build.cache / "trees").glob("*/*.stamps")))


def objects(folder: Path, kind: str) -> list[Path]:
    """Return the objects of a shared folder whose place has `kind` in it."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if kind in path.relative_to(folder).parts]


def empty(folder: Path, *, but: tuple[str, ...] = ()) -> None:
    """Remove all objects of a shared folder but those of some kinds."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if not set(but) & set(path.relative_to(folder).parts):
            path.unlink()


# two clones


def clones(tmp_path: Path, url: str) -> tuple[Build, Build]:
    """Return two copies of the example, on machines of their own."""
    made = []
    for name in ("one", "two"):
        shutil.copytree(
            REPOSITORY / "examples/shared_cache",
            tmp_path / name,
            ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild"),
        )
        made.append(sharing(Build(tmp_path / name, cache=tmp_path / f"{name}-store"), url))
    return made[0], made[1]


def assert_the_second_runs_nothing(one: Build, two: Build) -> None:
    built = one("//:quality", "//:model")
    fetched = two("//:quality", "//:model")

    assert built.ran == ["//:model", "//:points", "//:quality"]
    assert fetched.report["ran"] == []
    assert sorted(fetched.report["fetched"]) == built.ran
    assert fetched.report["metrics"] == built.report["metrics"]
    assert two.output("model/model.json") == one.output("model/model.json")
    assert fetched.report["down"] < 40_000  # the points alone take ten times as much


def test_two_clones_share_a_folder(tmp_path: Path, folder: Path) -> None:
    one, two = clones(tmp_path, f"file://{folder}")

    assert_the_second_runs_nothing(one, two)

    assert two("//:quality", "//:model").ran == []


def test_two_clones_share_a_bucket(tmp_path: Path, weed: ObjectServer) -> None:
    prefix = weed.prefix()
    one, two = clones(tmp_path, f"s3://cache/{prefix}")
    for build in (one, two):
        on(build, weed, prefix)

    assert_the_second_runs_nothing(one, two)


def test_two_clones_share_a_server_of_the_remote_execution_api(
    tmp_path: Path, casd: CacheServer
) -> None:
    one, two = clones(tmp_path, casd.url)

    assert_the_second_runs_nothing(one, two)


def test_the_script_of_the_example_shows_it(tmp_path: Path) -> None:
    script = REPOSITORY / "examples/shared_cache/two_machines.sh"
    program = tmp_path / "bin/mlbuild"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mlbuild "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"

    done = subprocess.run(
        [script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert '"ran": []' in done.stdout
    assert "both have the same model" in done.stdout


# what travels


def test_of_a_chain_only_the_last_output_comes(first: Build) -> None:
    labels = chain(first, 10)
    first("//:c9")
    second = another(first)

    done = second("//:c9")

    assert done.ran == []
    assert sorted(done.report["fetched"]) == labels
    assert second.output("c9/c9.txt") == first.output("c9/c9.txt")
    assert trees(second) == 1


def test_what_has_to_run_gets_its_inputs_and_no_others(first: Build) -> None:
    chain(first, 5)
    first("//:c4")
    second = another(first)
    second.edit("BUILD.ml", "yes 4", "yes four")

    done = second("//:c4")

    assert done.ran == ["//:c4"]
    assert trees(second) == 2  # of c3, which was brought, and c4
    assert first.run("build", "//:c4").code == 0


def test_what_was_found_need_not_be_asked_for_again(first: Build, folder: Path) -> None:
    labels = chain(first, 3)
    first("//:c2")
    second = another(first)
    second("//:c2")
    empty(folder)
    shutil.rmtree(second.root / ".mlbuild")

    done = second("//:c2")

    assert done.cached == labels
    assert done.report["down"] == 0


def test_the_summary_says_what_was_moved_and_saved(first: Build) -> None:
    first.genrule("slow", f"(cat; sleep 1.1; yes | head -c {LARGE})")
    built = first.run("build", *first.flags, "//:slow")
    second = another(first)

    done = second.run("build", "--events", "events.jsonl", *second.flags, "//:slow")

    assert " up · " in built.stderr
    assert "1 target: 1 fetched · " in done.stderr
    assert " down · saved 1." in done.stderr
    events = [
        json.loads(line) for line in (second.root / "events.jsonl").read_text().split("\n")[:-1]
    ]
    finished = [one for one in events if one["type"] == "ActionFinished"]
    assert [one["source"] for one in finished] == ["shared"]
    assert events[-1]["fetched"] == ["//:slow"]
    assert events[-1]["saved"] > 1


def test_a_dry_run_says_what_would_be_fetched(first: Build) -> None:
    chain(first, 2)
    first("//:c1")
    second = another(first)
    second.edit("BUILD.ml", "yes 1", "yes one")

    done = second.run("build", "--dry-run", *second.flags, "//:c1")

    assert "would run //:c1" in done.stdout
    assert "2 targets: 1 would run, 1 would be fetched" in done.stderr
    assert trees(second) == 0


def test_a_target_decides_who_keeps_its_results(first: Build, folder: Path) -> None:
    for name, cache in (("team", "shared"), ("mine", "local"), ("nobodys", "off")):
        first.genrule(name, "cat; date +%N")
        first.edit("BUILD.ml", f'name = "{name}"', f'name = "{name}", cache = "{cache}"')
    first("//...")

    second = another(first)

    assert len(objects(folder, "ac")) == 1
    assert second("//...").ran == ["//:mine", "//:nobodys"]
    assert second("//...").ran == ["//:nobodys"]
    assert first("//...").ran == ["//:nobodys"]


def test_environments_are_known_to_all_and_installed_where_they_are_needed(
    first: Build, tmp_path: Path
) -> None:
    pinned = lock("1.0", wheel(tmp_path / "wheels", "1.0", "VALUE = 1\n"))
    first.env = {"UV_FIND_LINKS": str(tmp_path / "wheels"), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    first.file("BUILD.ml", SCRIPTED).file("requirements.lock", pinned).file("it.py", SCRIPT)
    first("//:it")
    second = another(first)

    assert second("//:it").report["ran"] == []
    assert second.output("it/out") == "1"
    assert not list(second.cache.rglob("tiny.py"))

    second.edit("it.py", "VALUE", "VALUE + 1")
    assert second("//:it").ran == ["//:env", "//:it"]
    assert second.output("it/out") == "2"


def test_a_rule_says_who_keeps_results_unless_the_target_does(first: Build, folder: Path) -> None:
    first.file(
        "defs.bzl",
        """
def _note(ctx):
    out = ctx.file("note.txt")
    ctx.run(argv = ["/bin/sh", "-c", "echo > $0", out], cache = "local")
    return struct(files = [out])

note = rule(implementation = _note)
""",
    )
    first.file(
        "BUILD.ml",
        'load("//:defs.bzl", "note")\nnote(name = "a")\nnote(name = "b", cache = "shared")\n',
    )
    first("//:a")
    assert objects(folder, "ac") == []

    first("--rerun", "//:b")

    assert len(objects(folder, "ac")) == 1


def test_a_word_that_says_nothing_of_who_keeps_results_is_refused(first: Build) -> None:
    first.genrule("a", "cat")
    first.edit("BUILD.ml", 'name = "a"', 'name = "a", cache = "lokal"')

    done = first.run("build", "//:a")

    assert done.code == 2
    assert 'attribute `cache` cannot be "lokal"' in done.stderr
    assert "did you mean `local`?" in done.stderr


def test_what_nobody_keeps_says_so_in_a_dry_run(first: Build) -> None:
    first.genrule("a", "cat")
    first.edit("BUILD.ml", 'name = "a"', 'name = "a", cache = "off"')
    first("//:a")

    done = first.run("build", "--dry-run", "//:a")

    assert "would run //:a  genrule  its results are not kept" in done.stdout


def test_what_ran_without_a_sandbox_is_not_shared(first: Build, folder: Path) -> None:
    first.genrule("a", "cat")

    done = first("--executor", "process", "//:a")

    assert done.ran == ["//:a"]
    assert objects(folder, "ac") == []


def test_shell_and_verify_bring_what_they_read(first: Build) -> None:
    chain(first, 3)
    first("//:c2")
    second = another(first)

    listed = second.run("shell", "-c", "cat mlbuild-out/c1/c1.txt | wc -c", *_env(second), "//:c2")
    verified = another(first, "third")
    judged = verified.run("verify", *_env(verified), "//:c2")

    assert listed.stdout.strip() == str(LARGE + 1000), listed.stderr
    assert judged.code == 0, judged.stderr


def _env(build: Build) -> list[str]:
    """Say by variables what `build` says by flags, for commands without those flags."""
    words = dict(zip(build.flags[::2], build.flags[1::2], strict=True))
    names = {"--cache-url": "URL", "--cache-write": "WRITE", "--upload": "UPLOAD"}
    build.env |= {f"MLBUILD_CACHE_{names[flag]}": value for flag, value in words.items()}
    return []


# a local hit costs nothing


def test_a_build_that_finds_everything_here_starts_and_loads_nothing(first: Build) -> None:
    first.genrule("a", "cat")
    first("//:a")
    runs = set((first.cache / "runs").iterdir())
    shutil.rmtree(first.root / ".mlbuild")
    program = (
        "import sys; from mlbuild.__main__ import main; main();"
        "sys.stderr.write('LOADED ' + ' '.join(sorted(sys.modules)))"
    )

    def loaded(*flags: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", program, "build", *flags, "//:a"],
            cwd=first.root,
            env=first.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "1 target: 1 cached" in done.stderr
        return set(done.stderr.rpartition("LOADED ")[2].split())

    first.file("BUILD.ml", (first.root / "BUILD.ml").read_text() + "# another look\n")
    with_cache = loaded(*first.flags)
    first.file("BUILD.ml", (first.root / "BUILD.ml").read_text() + "# and another\n")
    without = loaded("--cache-read", "false", "--cache-write", "never")

    assert with_cache - without == set()
    assert not {"boto3", "grpc", "concurrent.futures", "mlbuild.courier"} & with_cache
    new = set((first.cache / "runs").iterdir()) - runs
    assert [path for run in new for path in run.glob("courier.log")] == []


# bytes that vanish


def test_an_entry_whose_bytes_vanished_is_built_anew_and_mended(first: Build, folder: Path) -> None:
    chain(first, 2)
    first("//:c1")
    empty(folder, but=("ac",))
    second, third = another(first), another(first, "third")

    rebuilt = second("//:c1")
    fetched = third("//:c1")

    assert rebuilt.ran == ["//:c0", "//:c1"]
    assert second.output("c1/c1.txt") == first.output("c1/c1.txt")
    assert fetched.ran == []
    assert third.output("c1/c1.txt") == first.output("c1/c1.txt")


def test_a_bucket_emptied_between_lookup_and_fetch_costs_the_builds_of_the_chain(
    first: Build, folder: Path
) -> None:
    chain(first, 4)
    first("//:c3")
    second = another(first)
    second("//:c3")
    empty(folder)
    second.edit("BUILD.ml", "yes 3", "yes three")

    done = second("//:c3")

    assert done.ran == ["//:c0", "//:c1", "//:c2", "//:c3"]
    first.edit("BUILD.ml", "yes 3", "yes three")
    first("//:c3")
    assert second.output("c3/c3.txt") == first.output("c3/c3.txt")


def test_many_lost_inputs_at_once_do_not_tire_the_build(first: Build, folder: Path) -> None:
    names = [f"in{number}" for number in range(12)]
    for name in names:
        first.genrule(name, f"(cat; yes {name} | head -c {LARGE})")
    first.genrule("sum", "wc -c", *(f":{name}" for name in names))
    first("//:sum")
    second = another(first)
    second("//:sum")
    empty(folder)
    second.edit("BUILD.ml", "wc -c", "wc -l")

    done = second("//:sum")

    assert done.ran == sorted(f"//:{name}" for name in [*names, "sum"])


def test_a_lost_result_that_cannot_be_repeated_takes_what_it_led_to_along(
    first: Build, folder: Path
) -> None:
    first.genrule("dice", f"(cat; date +%N; yes | head -c {LARGE})")
    first.genrule("seen", "head -n 1", ":dice")
    first.genrule("long", "cat", ":dice")
    first("//...")
    second = another(first)
    second("//:seen")
    empty(folder)

    second("//:long", "//:seen")

    number = second.output("long/long.txt").split("\n")[0]
    assert second.output("seen/seen.txt").strip() == number


# no shared cache, or none that answers


def test_an_offline_build_warns_once_and_uploads_later(first: Build, folder: Path) -> None:
    chain(first, 3)
    first.genrule("later", "cat")
    folder.rename(folder.parent / "away")

    offline = first.run("build", "--json", *first.flags, "//:c2")
    (folder.parent / "away").rename(folder)
    online = first("//:later")
    second = another(first)

    assert offline.code == 0
    assert json.loads(offline.stdout)["uploads_left"] == 3
    assert offline.stderr.count("warning: ") == 2, offline.stderr  # reading, and writing
    assert "3 uploads left for later" in offline.stderr
    assert online.report["uploads_left"] == 0
    assert second("//:c2", "//:later").ran == []


def test_who_may_not_write_is_told_which_permission_is_missing(
    build: Build, weed: ObjectServer
) -> None:
    on(build, weed.as_reader())
    chain(build, 3)

    done = build.run("build", *build.flags, "//:c2")

    assert done.code == 0
    assert done.stderr.count("warning: ") == 1, done.stderr
    assert "s3:PutObject" in done.stderr
    assert "3 targets: 3 ran" in done.stderr


@contextmanager
def silence() -> Iterator[str]:
    """Yield the address of a server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def couriers(pid: int) -> list[int]:
    """Return the couriers that a process has started."""
    found = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "mlbuild.shared.service"], capture_output=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def test_a_courier_killed_while_it_looks_leaves_a_build_without_a_shared_cache(
    build: Build,
) -> None:
    chain(build, 3)
    with silence() as address:
        sharing(build, f"http://{address}")

        process = build.start("build", *build.flags, "//:c2")
        until(lambda: couriers(process.pid), "the courier")
        os.kill(couriers(process.pid)[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=SECONDS)

    assert process.returncode == 0
    assert stderr.count("warning: ") == 1, stderr
    assert "was killed by signal 9" in stderr
    assert "3 targets: 3 ran" in stderr


def test_a_courier_killed_while_it_downloads_leaves_nothing_half_there(
    build: Build, weed: ObjectServer
) -> None:
    chain(build, 2)
    on(build, weed)
    build("//:c1")
    second = another(build)
    with proxy(weed.endpoint) as between:
        between.faults.append(Fault("stall", 10, hits=of("GET", "/packs/")))
        second.env["AWS_ENDPOINT_URL"] = between.endpoint

        process = second.start("build", "--events", "e.jsonl", *second.flags, "//:c1")
        until(lambda: between.asked("GET", "/packs/"), "the download")
        os.kill(couriers(process.pid)[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=SECONDS)

    assert process.returncode == 0, stderr
    assert "2 targets: 1 ran, 1 fetched" in stderr or "2 targets: 2 ran" in stderr
    assert second.output("c1/c1.txt") == build.output("c1/c1.txt")
    second.env["AWS_ENDPOINT_URL"] = weed.endpoint
    assert second("//:c1").ran == []


def test_a_courier_killed_while_it_uploads_loses_nothing(build: Build, tmp_path: Path) -> None:
    chain(build, 2)
    events = tmp_path / "events.jsonl"
    with silence() as address:
        sharing(build, "s3://cache/x")
        build.env |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        build.env |= {"AWS_ENDPOINT_URL": f"http://{address}", "AWS_DEFAULT_REGION": "us-east-1"}

        words = [*build.flags, "--cache-read", "false", "--events", str(events)]
        process = build.start("build", *words, "//:c1")
        until(lambda: events.exists() and '"Uploading"' in events.read_text(), "the uploads")
        os.kill(couriers(process.pid)[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=SECONDS)

    assert process.returncode == 0
    assert "2 targets: 2 ran · 2 uploads left for later" in stderr
    queued = list((build.cache / "uploads").glob("*/*"))
    assert len(queued) == 2


def test_no_courier_outlives_a_killed_build(build: Build) -> None:
    chain(build, 2)
    with silence() as address:
        sharing(build, f"http://{address}")
        process = build.start("build", *build.flags, "//:c1")
        until(lambda: couriers(process.pid), "the courier")
        (courier,) = couriers(process.pid)

        process.kill()
        process.communicate(timeout=SECONDS)

        until(lambda: has_ended(courier), "the end of the courier")
    build.flags = []
    assert build("//:c1").ran == ["//:c0", "//:c1"]


def test_ctrl_c_ends_a_build_that_waits_for_the_shared_cache(build: Build) -> None:
    chain(build, 2)
    with silence() as address:
        sharing(build, f"http://{address}")
        process = build.start("build", *build.flags, "//:c1")
        until(lambda: couriers(process.pid), "the courier")

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)

    assert process.returncode == 8


def test_uploads_go_on_after_the_build(first: Build, folder: Path) -> None:
    chain(first, 3)
    sharing(first, f"file://{folder}", upload="background")

    first("//:c2")

    until(lambda: len(objects(folder, "ac")) == 3, "the uploads")
    until(lambda: not list((first.cache / "uploads").glob("*/*")), "an empty queue")
    assert another(first)("//:c2").ran == []


def test_nothing_is_uploaded_where_nobody_wants_it(first: Build, folder: Path) -> None:
    chain(first, 2)
    sharing(first, f"file://{folder}", upload="off")

    done = first("//:c1")

    assert done.report["uploads_left"] == 0
    assert objects(folder, "ac") == []


def test_two_machines_that_publish_one_key_at_once_both_end_well(first: Build) -> None:
    first.genrule("dice", f"(cat; date +%N; yes | head -c {LARGE})")
    second, third = another(first), another(first, "third")

    running = [one.start("build", *one.flags, "//:dice") for one in (first, second)]
    ended = [one.communicate(timeout=SECONDS) for one in running]
    fetched = third("//:dice")

    assert [one.returncode for one in running] == [0, 0], ended
    assert fetched.ran == []
    made = {first.output("dice/dice.txt"), second.output("dice/dice.txt")}
    assert third.output("dice/dice.txt") in made
    for late in (first, second):
        shutil.rmtree(late.root / ".mlbuild")
        assert late("//:dice").ran == []
        assert late.output("dice/dice.txt") == third.output("dice/dice.txt")
