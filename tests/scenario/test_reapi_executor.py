"""Builds by real servers of the Remote Execution API: buildbox-casd, BuildGrid with a worker."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlbuild.errors import HostError
from mlbuild.remote.jobs.book import FOLDER, Book
from mlbuild.remote.reapi.executor import Reapi
from tests import docker
from tests.contract.jobs import Jobs, marked, shell
from tests.harness import Build
from tests.reapi_servers import CacheServer
from tests.reapi_workers import casd_worker, executing, host_runner

PATIENCE = 90.0  # seconds for what must happen

# Saves a step and then waits, or tells what it goes on from; asked to end, it saves a farewell.
TRAINING = """
import json, os, signal, subprocess, sys
place = json.load(open(os.environ["MLBUILD_CONTEXT"]))["checkpoint"] + "/step"
def farewell(*_):
    open(place, "a").write(" and a farewell")
    sys.exit(3)
if os.path.exists(place):
    open(sys.argv[1], "w").write("from " + open(place).read() + "\\n")
else:
    signal.signal(signal.SIGTERM, farewell)
    open(place, "w").write("step 7")
    subprocess.run(["sleep", "MARK"])
"""


@pytest.fixture(params=["reapi_worker", pytest.param("buildgrid_worker", marks=pytest.mark.long)])
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


def parent(pid: int | str) -> int:
    """Return the process that made another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def runner_of(pid: int) -> int:
    """Return the process of a worker that made the sandbox of a command."""
    while "buildbox-run" not in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]:
        pid = parent(pid)
        assert pid, "no runner is above it"
    return pid


@contextmanager
def started(build: Build, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """Start `mlbuild WORDS...`; whatever fails, it ends with the block."""
    with build.start(*words) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_at(build: Build, label: str, mark: str) -> None:
    """Kill the client of a build in the middle of a command that has `mark` in its words."""
    with started(build, "build", *build.flags, label) as process:
        until(lambda: marked(mark), "the command")
        # A server that has not said yet what it calls the execution cannot be asked for it.
        until(lambda: label in notes_of(build), "a name for it")
        process.kill()
        process.communicate(timeout=PATIENCE)


def notes_of(build: Build) -> list[str]:
    """Return the labels of the jobs that are in the book."""
    return [note.label for note in Book(os.path.join(build.cache, *FOLDER)).notes()]


def jobs_of(build: Build) -> list[dict[str, object]]:
    """Return what `mlbuild jobs` lists."""
    found: list[dict[str, object]] = json.loads(build.run("jobs", "--json").stdout)["jobs"]
    return found


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
    mark = f"297.{os.getpid()}1"
    away.genrule("long", f"sleep {mark}")
    with started(away, "build", *away.flags, "//:long") as process:
        until(lambda: marked(f"sleep\0{mark}"), "the command")

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 8
    until(lambda: not marked(f"sleep\0{mark}"), "the end of the command")


def test_killed_and_typed_again_it_attaches(away: Build, tmp_path: Path) -> None:
    # given a build that was killed while its command runs
    mark = f"297.{os.getpid()}2"
    away.genrule("long", f"sleep {mark} || echo ended")
    kill_at(away, "//:long", f"sleep\0{mark}")
    before = marked(f"sleep\0{mark}")

    # when the same is typed again, and then the command ends
    events = tmp_path / "events"
    with started(away, "build", *away.flags, "//:long", "--events", str(events)) as again:
        until(lambda: events.exists() and "ActionStarted" in events.read_text(), "the start")
        during = marked(f"sleep\0{mark}")
        for pid in before:
            os.kill(int(pid), signal.SIGTERM)
        again.communicate(timeout=PATIENCE)

    # then nothing was started a second time
    assert len(before) == 1
    assert during == before
    assert again.returncode == 0
    assert away.output("long/long.txt") == "ended\n"


def test_a_job_whose_client_is_gone_is_listed_and_attached_to(away: Build) -> None:
    # given a job whose client was killed
    mark = f"297.{os.getpid()}4"
    away.genrule("long", f"echo begun >&2; sleep {mark} || echo ended")
    kill_at(away, "//:long", f"sleep\0{mark}")

    # when jobs are listed, and this one is followed to its end
    listed = jobs_of(away)
    with started(away, "attach", "//:long") as attached:
        for pid in marked(f"sleep\0{mark}"):
            os.kill(int(pid), signal.SIGTERM)
        stdout, stderr = attached.communicate(timeout=PATIENCE)

    # then its outcome waits for who builds it
    assert [(job["label"], job["executor"], job["phase"]) for job in listed] == [
        ("//:long", "grid", "running")
    ]
    assert (attached.returncode, stdout.splitlines()[0]) == (0, "begun"), stderr
    assert away("//:long").ran == ["//:long"]
    assert away.output("long/long.txt") == "ended\n"
    assert jobs_of(away) == []


def test_a_job_whose_client_is_gone_is_cancelled(away: Build) -> None:
    mark = f"297.{os.getpid()}5"
    away.genrule("long", f"sleep {mark}")
    kill_at(away, "//:long", f"sleep\0{mark}")

    done = away.run("cancel", "//:long", timeout=PATIENCE)

    assert done.code == 0, done.stderr
    until(lambda: not marked(f"sleep\0{mark}"), "the end of the command")
    assert jobs_of(away) == []


def test_a_training_whose_worker_is_taken_away_goes_on_from_its_farewell(away: Build) -> None:
    # given a training that has saved something
    mark = f"297.{os.getpid()}3"
    away.file("train.py", TRAINING.replace("MARK", mark))
    away.file(
        "BUILD.ml",
        'train(name = "net", script = "train.py", args = ["$(output model.txt)"],\n'
        '      outs = ["model.txt"])\n',
    )
    with started(away, "build", *away.flags, "--json", "//:net") as client:
        until(lambda: marked(f"sleep\0{mark}"), "training")

        # when it is asked to end, from outside
        os.kill(parent(parent(marked(f"sleep\0{mark}")[0])), signal.SIGTERM)
        stdout, stderr = client.communicate(timeout=PATIENCE)

    # then it was tried again and went on from there
    assert client.returncode == 0, stderr
    assert json.loads(stdout)["ran"] == ["//:net"]
    assert away.output("net/model.txt") == "from step 7 and a farewell\n"
    assert json.loads(away.run("describe", "//:net", "--json").stdout)["result"]["resumed"]


def test_a_runner_that_dies_is_replaced_by_another(build: Build, reapi_worker: CacheServer) -> None:
    away = led(build, reapi_worker)
    mark = f"297.{os.getpid()}6"
    away.genrule("long", f"sleep {mark} || echo ended")
    with started(away, "build", *away.flags, "//:long") as client:
        until(lambda: marked(f"sleep\0{mark}"), "the command")
        (first,) = marked(f"sleep\0{mark}")

        os.kill(runner_of(int(first)), signal.SIGKILL)
        until(lambda: {*marked(f"sleep\0{mark}")} - {first}, "another try")
        for pid in {*marked(f"sleep\0{mark}")} - {first}:
            os.kill(int(pid), signal.SIGTERM)
        _, stderr = client.communicate(timeout=PATIENCE)

    assert client.returncode == 0, stderr
    (log,) = away.cache.glob("runs/*/logs/*long*.log")
    assert "try 2 follows" in log.read_text()


def test_what_no_worker_is_like_is_refused(build: Build, buildgrid_worker: CacheServer) -> None:
    away = led(build, buildgrid_worker, "[executors.grid.platform]", 'nope = "x"')
    away.genrule("up", "tr a-z A-Z")

    done = away.run("build", *away.flags, "//:up", timeout=PATIENCE)

    assert done.code == 36
    assert "`grid` does not execute `//:up`: Unregistered platform prop" in done.stderr
    assert "[executors.grid.platform]" in done.stderr


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
