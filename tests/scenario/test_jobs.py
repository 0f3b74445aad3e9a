"""Jobs that run elsewhere, looked after by somebody else than the build that started them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import ssh
from tests.harness import Build
from tests.processes import has_ended
from tests.scenario.test_ssh import led, log_of, runners, slow_training, store_of

PATIENCE = 60.0  # seconds for what must happen


@pytest.fixture
def away(build: Build, far_host: ssh.Host) -> Build:
    """Return a workspace whose builds run on the other host, with nothing left there."""
    return led(build, far_host)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.05)


def jobs(build: Build, *words: str) -> list[dict[str, Any]]:
    """Return what `mlbuild jobs` lists."""
    done = build.run("jobs", "--json", *words)
    assert done.code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["jobs"]
    return found


@contextmanager
def training(
    build: Build, *, steps: int = 100_000, at: int = 5
) -> Iterator["subprocess.Popen[str]"]:
    """Start a training elsewhere, and yield its client once it has come to a step."""
    slow_training(build, steps=steps)
    script = (build.root / "train.py").read_text()
    build.file("train.py", f"# {build.root}: no other test finds its checkpoint\n{script}")
    client = build.start("build", *build.flags, "//:net")
    try:
        until(lambda: client.poll() is not None or f"step {at}\n" in log_of(build), "training")
        assert client.poll() is None, client.communicate()
        yield client
    finally:
        client.kill()
        client.communicate()
        build.run("cancel", "--all")


class Watcher:
    """A command that prints a log, and what it has printed by now."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.seen = ""
        self.said = ""  # on stderr, after its end

    def lines(self, number: int) -> list[str]:
        """Wait for the next lines."""
        assert self.process.stdout is not None
        found = [self.process.stdout.readline() for _ in range(number)]
        self.seen += "".join(found)
        return [line.rstrip("\n") for line in found]

    def end(self) -> int:
        """Wait for the end of it; return its exit code."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout as stdout, self.process.stderr as stderr:
            self.seen += stdout.read()
            self.said = stderr.read()
        return self.process.wait(PATIENCE)


def killed(client: "subprocess.Popen[str]") -> None:
    """End a client like a power cut."""
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()


def test_a_job_is_listed_until_it_is_cancelled_and_its_client_hears_of_that(
    away: Build, far_host: ssh.Host
) -> None:
    nothing = away.run("jobs")

    with training(away) as client:
        (job,) = jobs(away)
        (runner,) = runners(far_host)
        head, line = away.run("jobs").stdout.splitlines()
        done = away.run("cancel", job["order"][:6])
        _, stderr = client.communicate(timeout=PATIENCE)
        after = jobs(away, "--executor", "gpubox")
        until(lambda: has_ended(runner), "the end of the runner")

    assert (nothing.stdout, nothing.stderr) == ("", "nothing runs elsewhere\n")
    assert (job["label"], job["phase"], job["pid"]) == ("//:net", "running", runner)
    assert (job["executor"], job["host"]) == ("gpubox", os.uname().nodename)
    assert job["workspace"] == str(away.root)
    assert 0 < job["seconds"] < PATIENCE
    assert head.split()[:4] == ["job", "target", "executor", "host"]
    assert line.split()[:3] == [job["order"][:12], "//:net", "gpubox"]
    assert f"process {runner}" in line
    assert done.code == 0, done.stderr
    assert "`//:net` was cancelled on" in done.stderr
    assert client.returncode == 36
    assert "somebody cancelled it on" in stderr
    assert job["order"] not in {one["order"] for one in after}


def told(host: ssh.Host) -> set[str]:
    """Return the phases of the jobs on the host that have said so, or for what they wait."""
    states = [json.loads(path.read_text()) for path in store_of(host).glob("remote/jobs/*/state")]
    return {one["phase"] for one in states if one["phase"] != "queued" or one["waits"]}


def test_a_job_is_told_with_its_gpu(away: Build, far_host: ssh.Host) -> None:
    away.file("hold.py", "import time\nprint('held', flush=True)\ntime.sleep(600)\n")
    away.file(
        "BUILD.ml",
        'process(name = "net", script = "hold.py", outs = ["o"], resources = {"gpus": "A100"})\n'
        'process(name = "two", script = "hold.py", outs = ["o"], resources = {"gpus": "A100"},\n'
        '        params = {"n": 2})\n',
    )
    client = away.start("build", *away.flags, "-j", "2", "//...")
    try:
        until(lambda: {"running", "queued"} <= told(far_host), "that one waits for the other")
        seen = {bool(one["gpus"]): one for one in jobs(away)}
        table = away.run("jobs").stdout
    finally:
        cancelled = away.run("cancel", "--all")
        client.communicate(timeout=PATIENCE)

    assert seen[True]["gpus"] == [{"uuid": "GPU-aaa", "name": "NVIDIA A100-SXM4-80GB"}]
    assert "lent to" in seen[False]["waits"]
    assert seen[True]["label"] in seen[False]["waits"]
    assert "NVIDIA A100-SXM4-80GB (GPU-aaa)" in table
    assert f"waits for {seen[False]['waits']}" in table
    assert cancelled.code == 0, cancelled.stderr
    assert client.returncode == 36


def test_whoever_attaches_sees_the_whole_log_and_the_end(away: Build, far_host: ssh.Host) -> None:
    with training(away, steps=150, at=20) as client:
        killed(client)

        followed = away.run("attach", "//:net")
        again = away.run("attach", "//:net", "--tail", "3")
        left = jobs(away)
        built = away("//:net")

    lines = [f"step {n}" for n in range(150)]
    assert followed.code == 0, followed.stderr
    assert followed.stdout.splitlines() == lines
    assert "`//:net` ended with success" in followed.stderr
    assert "`mlbuild //:net --executor gpubox` takes it from there" in followed.stderr
    assert again.stdout.splitlines() == lines[-3:]
    assert [one["phase"] for one in left] == ["ended"]
    assert built.ran == ["//:net"]
    assert log_of(away).splitlines() == lines
    assert jobs(away) == []
    assert not runners(far_host)


@pytest.mark.long
def test_two_may_watch_one_job_while_its_client_lives(away: Build) -> None:
    with training(away) as client:
        watchers = [
            Watcher(away.start(*words)) for words in (["attach", "//:net"], ["log", "-f", "net"])
        ]
        begun = [watcher.lines(60) for watcher in watchers]
        away.run("cancel", "--all")
        codes = [watcher.end() for watcher in watchers]
        client.communicate(timeout=PATIENCE)

    whole = log_of(away)
    assert begun == [whole.splitlines()[:60]] * 2
    assert [watcher.seen for watcher in watchers] == [whole] * 2
    assert codes == [8, 0]


def test_ctrl_c_leaves_the_job_alone(away: Build, far_host: ssh.Host) -> None:
    with training(away) as client:
        killed(client)
        watcher = Watcher(away.start("attach", "//:net"))
        first = watcher.lines(1)

        watcher.process.send_signal(signal.SIGINT)

        assert first == ["step 0"]
        assert watcher.end() == 8
        assert "`//:net` goes on on" in watcher.said
        assert len(runners(far_host)) == 1


@pytest.mark.long
def test_the_log_of_a_job_whose_client_died_is_followed_on(away: Build) -> None:
    with training(away, steps=150) as client:
        killed(client)

        followed = away.run("log", "-f", "//:net")

    assert followed.code == 0, followed.stderr
    assert followed.stdout.splitlines() == [f"step {n}" for n in range(150)]


def test_a_job_that_fails_fails_whoever_attaches(away: Build) -> None:
    command = "echo no; sleep 3; exit 7"
    away.file("BUILD.ml", f'genrule(name = "net", outs = ["o"], cmd = "{command}")\n')
    client = away.start("build", *away.flags, "//:net")
    until(lambda: log_of(away) == "no\n", "its start")
    killed(client)

    done = away.run("attach", "net")
    report = away.run("attach", "net", "--json")

    assert done.code == 1
    assert done.stdout == "no\n"
    assert "`//:net` ended with exit code 7" in done.stderr
    assert report.code == 1
    assert json.loads(report.stdout)["exit_code"] == 7


def test_a_job_of_a_dead_client_is_cancelled_from_another_clone(
    away: Build, far_host: ssh.Host, tmp_path: Path
) -> None:
    with training(away) as client:
        killed(client)
        other = away.copy(tmp_path / "clone", cache=tmp_path / "other-cache")

        unseen = jobs(other)
        there = jobs(other, "--executor", "gpubox")
        (job,) = [one for one in there if one["phase"] == "running"]
        done = other.run("cancel", job["key"], "--executor", "gpubox", "--json")
        until(lambda: not runners(far_host), "the end of the job")

    assert unseen == []
    assert (job["label"], job["workspace"]) == ("//:net", "")
    assert [one["phase"] for one in json.loads(done.stdout)["cancelled"]] == ["cancelled"]


def test_a_job_whose_runner_died_is_told_as_lost(away: Build, far_host: ssh.Host) -> None:
    with training(away) as client:
        killed(client)
        (runner,) = runners(far_host)
        os.kill(runner, signal.SIGKILL)

        followed = away.run("attach", "//:net")
        table = away.run("jobs").stdout

        assert followed.code == 36
        assert "was killed or lost" in followed.stderr
        assert "tries again" in table


def test_a_host_that_does_not_answer_is_a_line_and_no_failure(away: Build) -> None:
    with training(away) as client:
        killed(client)
        said = (away.root / "mlbuild.toml").read_text()
        port = said.rpartition(":")[2].partition('"')[0]
        away.file("mlbuild.toml", said.replace(f":{port}", ":1"))

        done = away.run("jobs")
        away.file("mlbuild.toml", said)

    assert done.code == 0
    assert "`gpubox` cannot be asked" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["attach"], "no job is named"),
        (["attach", "//:nothing"], "nothing that runs elsewhere is `//:nothing`"),
        (["attach", "abcdef0123"], "nothing that runs elsewhere is `abcdef0123`"),
        (["attach", "//:x", "--tail", "many"], "`--tail` takes a number of lines, not `many`"),
        (["cancel"], "no job is named"),
        (["cancel", "//:nothing"], "nothing that runs elsewhere is `//:nothing`"),
        (["jobs", "--executor", "gpubx"], "`gpubx`"),
        (["log", "-f", "//:x"], "has no log"),
        (["runner", "x", "--store", "file:///tmp"], "`x` is neither a key nor an order"),
        (["runner", "abcdef", "--store", "file:///tmp", "--patience", "0"], "`--patience` takes"),
    ],
)
def test_words_that_name_nothing_are_told(build: Build, words: list[str], said: str) -> None:
    build.genrule("x", "cat")

    done = build.run(*words)

    assert done.code == 2, done.stderr
    assert said in done.stderr


def test_the_log_of_a_local_action_is_followed_to_its_end(build: Build) -> None:
    slow_training(build, steps=150)
    client = build.start("build", "//:net")
    until(lambda: "step 5\n" in log_of(build), "training")

    followed = build.run("log", "-f", "//:net")
    client.communicate(timeout=PATIENCE)
    after = build.run("log", "--follow", "//:net")

    lines = [f"step {n}" for n in range(150)]
    assert client.returncode == 0
    assert followed.stdout.splitlines() == lines
    assert after.stdout.splitlines() == lines


def test_the_outcome_of_a_repetition_is_promised_to_nobody(away: Build) -> None:
    slow_training(away, steps=60)
    client = away.start("build", *away.flags, "--rerun", "//:net")
    until(lambda: client.poll() is not None or "step 5\n" in log_of(away), "training")
    client.kill()
    client.communicate()

    attached = away.run("attach", "//:net")
    listed = away.run("jobs")

    assert attached.code == 0
    assert "with success" in attached.stderr
    assert "takes it from there" not in attached.stderr
    assert "ended" in listed.stdout
    assert "it repeated what was known, and whoever wanted that has gone" in listed.stdout
