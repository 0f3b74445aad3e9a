"""Builds by real servers of the Remote Execution API: buildbox-casd, BuildGrid with a worker."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlbuild.errors import HostError
from mlbuild.remote.reapi_executor import Reapi
from tests import docker
from tests.contract.jobs import Jobs, marked, shell
from tests.harness import REPOSITORY, Build
from tests.reapi_servers import CacheServer
from tests.reapi_workers import casd_worker, executing, host_runner

PATIENCE = 30.0  # seconds for what must happen


@pytest.fixture(params=["reapi_worker", "buildgrid_worker"])
def server(request: pytest.FixtureRequest) -> CacheServer:
    found: CacheServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def away(build: Build, server: CacheServer) -> Build:
    """Return a workspace whose builds the server executes."""
    return led(build, server)


def led(build: Build, server: CacheServer, *lines: str) -> Build:
    """Have a workspace use a server, with more lines in its table."""
    table = ["", "[executors.grid]", 'kind = "reapi"', f'url = "{server.url}"', *lines]
    if not any(line.startswith("[") for line in lines):
        table += ["[executors.grid.platform]", 'OSFamily = "linux"']
    with (build.root / "mlbuild.toml").open("a") as file:
        file.write("\n".join([*table, ""]))
    build.flags.extend(["--executor", "grid"])
    return build


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


def facts(path: Path) -> list[tuple[str, str, str]]:
    """Return what finished, with its key and what it made."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    finished = [one for one in lines if one["type"] == "ActionFinished"]
    return sorted((one["id"], one["key"], str(one["result"]["tree"])) for one in finished)


def executor_of(build: Build, label: str) -> str:
    """Return who made the result of a target."""
    said = json.loads(build.run("describe", label, "--json").stdout)
    found: str = said["result"]["executor"]
    return found


def test_a_build_there_has_the_keys_and_the_bytes_of_a_local_one(
    away: Build, tmp_path: Path
) -> None:
    away.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt").genrule("twice", "cat", ":up")
    local = away.copy(tmp_path / "local", cache=tmp_path / "cache-local")
    local.flags.clear()
    there, here = tmp_path / "events", tmp_path / "events-local"

    done = away("//...", "--events", str(there))
    local("//...", "--events", str(here))

    assert done.ran == ["//:twice", "//:up"]
    assert away.output("twice/twice.txt") == "ONE\n"
    assert facts(there) == facts(here)
    assert executor_of(away, "//:up") == "grid"
    assert away("//...").ran == []


def test_what_fails_there_fails_as_it_does_here(away: Build) -> None:
    away.genrule("bad", "tr a b; echo said it >&2; exit 7")

    done = away.run("build", *away.flags, "//:bad")

    assert done.code == 1
    assert "exit code 7" in done.stderr
    assert "said it" in done.stderr


def test_doctor_looks_at_the_server_and_at_a_worker(away: Build) -> None:
    done = away.run("doctor", *away.flags)

    assert done.code == 0
    assert "it executes actions, by SHA-256" in done.stdout
    assert "worker" in done.stdout


def test_interrupted_it_ends_there_too(away: Build) -> None:
    mark = f"7{os.getpid()}.5"
    away.genrule("long", f"sleep {mark}")
    with away.start("build", *away.flags, "//:long") as process:
        until(lambda: marked(f"sleep\0{mark}"), "the command")

        process.send_signal(signal.SIGINT)
        process.communicate()

    assert process.returncode == 8
    until(lambda: not marked(f"sleep\0{mark}"), "the end of the command")


def test_killed_and_typed_again_it_attaches(away: Build, tmp_path: Path) -> None:
    # given a build that was killed while its command runs
    mark = f"3{os.getpid()}.5"
    away.genrule("long", f"sleep {mark} || echo ended")
    with away.start("build", *away.flags, "//:long") as process:
        until(lambda: marked(f"sleep\0{mark}"), "the command")
        process.kill()
        process.communicate()
    before = marked(f"sleep\0{mark}")

    # when the same is typed again, and then the command ends
    events = tmp_path / "events"
    with away.start("build", *away.flags, "//:long", "--events", str(events)) as again:
        try:
            until(lambda: events.exists() and "ActionStarted" in events.read_text(), "the start")
        finally:
            during = marked(f"sleep\0{mark}")
            for pid in during:
                os.kill(int(pid), signal.SIGTERM)
            again.communicate()

    # then nothing was started a second time
    assert len(before) == 1
    assert during == before
    assert again.returncode == 0
    assert away.output("long/long.txt") == "ended\n"


def test_an_image_is_the_file_system_of_a_worker_that_shows_nothing_else(tmp_path: Path) -> None:
    # given a worker without any system of its own, and an image
    jobs = Jobs(tmp_path, image=docker.unpacked())
    script = 'cat data/a; ls /; echo $FROM_IMAGE >"$MLBUILD_OUT/out.txt"'
    job = jobs.job(shell(script), jobs.tree("data", {"a": b"in\n"}))

    with casd_worker(arguments=()) as server:
        executor = Reapi(executing(server, images=True), folder=str(tmp_path / "own"), jobs=1)
        done = executor.run(job)
        executor.close()

    assert done.exit_code == 0
    assert Path(done.out, "out.txt").read_text() == "1\n"
    assert Path(job.log).read_text().startswith("in\nbin\n")


def test_a_worker_that_shows_more_than_it_should_is_refused(tmp_path: Path) -> None:
    arguments = (*host_runner(), f"--ro-bind-mount={tmp_path}:/home")
    job = Jobs(tmp_path).job(shell("true"))

    with casd_worker(arguments=arguments) as server:
        executor = Reapi(executing(server), folder=str(tmp_path / "own"), jobs=1)
        with pytest.raises(HostError, match="shows more than an action's inputs: `/home`"):
            executor.run(job)
        executor.close()


def test_lenet_there_is_the_lenet_of_the_sandbox(reapi_worker: CacheServer, tmp_path: Path) -> None:
    # given the example, shortened, and its environment in two caches
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild")
    shutil.copytree(REPOSITORY / "examples/lenet", tmp_path / "lenet", ignore=ignored)
    here = Build(tmp_path / "lenet", cache=tmp_path / "cache")
    here.edit("models/BUILD.ml", '"epochs": 5', '"epochs": 1')
    here("//:env")
    shutil.copytree(here.cache, tmp_path / "cache-there", symlinks=True)
    there = led(here.copy(tmp_path / "there", cache=tmp_path / "cache-there"), reapi_worker)

    # when it is trained in both ways
    done = here("//models:lenet", "--events", str(tmp_path / "here.jsonl"))
    away = there("//models:lenet", "--events", str(tmp_path / "there.jsonl"))

    # then key and model are the same
    assert done.ran == away.ran
    assert "//models:lenet" in away.ran
    assert facts(tmp_path / "here.jsonl") == facts(tmp_path / "there.jsonl")
    assert executor_of(here, "//models:lenet") == "sandbox"
    assert executor_of(there, "//models:lenet") == "grid"
