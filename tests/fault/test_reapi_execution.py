"""Execution by a server that breaks off, forgets, loses and refuses."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from mlbuild.core.action import OutputRef, Run
from mlbuild.errors import HostError
from mlbuild.exec.base import Execution, Job
from mlbuild.remote.reapi.executor import Reapi
from mlbuild.remote.reapi.server import Server
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.reapi_access import parsed
from mlbuild.shared.reapi_channel import CONNECTIONS
from tests.contract.jobs import Jobs, shell
from tests.harness import Build
from tests.reapi_foreman import Foreman, Hands, running

PATIENCE = 30.0  # seconds for what must happen


@pytest.fixture
def foreman() -> Iterator[Foreman]:
    with running(Foreman()) as server:
        yield server


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def executor(foreman: Foreman, jobs: Jobs, **settings: Any) -> Reapi:
    server = Server("grid", parsed(foreman.url), **{"retries": 0, **settings})
    return Reapi(server, folder=str(jobs.root / "own"), jobs=1)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def running_job(ours: Reapi, job: Job) -> "Iterator[Future[Execution]]":
    """Run a job beside the block."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ours.run, job)


def out(done: Execution) -> str:
    return Path(done.out, "out.txt").read_text(encoding="utf-8")


def log(job: Job) -> str:
    return Path(job.log).read_text(encoding="utf-8")


@pytest.mark.parametrize("function", [wire.SHA256, wire.BLAKE3])
def test_what_a_server_made_is_brought(foreman: Foreman, jobs: Jobs, function: int) -> None:
    foreman.functions = [function]
    job = jobs.job(shell("true"))

    done = executor(foreman, jobs).run(job)

    assert (done.exit_code, out(done), log(job)) == (0, "made\n", "printed\n")
    assert foreman.executed[0].digest_function == (function if function == wire.BLAKE3 else 0)


def test_a_stream_that_breaks_off_is_taken_up_again(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("break")

    done = executor(foreman, jobs).run(jobs.job(shell("true")))

    assert out(done) == "made\n"
    assert (foreman.calls["Execute"], foreman.calls["WaitExecution"]) == (1, 1)


def test_an_operation_that_the_server_forgot_is_begun_again(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("forget")

    done = executor(foreman, jobs).run(jobs.job(shell("true")))

    assert out(done) == "made\n"
    assert (foreman.calls["Execute"], foreman.calls["WaitExecution"]) == (2, 1)


def test_what_the_server_says_it_lost_is_sent_again(foreman: Foreman, jobs: Jobs) -> None:
    # given a file that the server says it has, and then that it has not
    source = jobs.file("in.txt", b"x" * 100)
    name = foreman.hash(b"x" * 100)
    foreman.moods.append(f"lose {name}")

    done = executor(foreman, jobs).run(jobs.job(shell("true"), source))

    assert out(done) == "made\n"
    assert foreman.calls["Execute"] == 2
    assert any(name in written for written in foreman.names)


def test_what_is_gone_is_sent_again_though_it_was_sent_before(foreman: Foreman, jobs: Jobs) -> None:
    # given a server that loses everything between two jobs of one session
    ours = executor(foreman, jobs)
    ours.run(jobs.job(shell("true"), jobs.tree("data", {"a": b"1"})))
    foreman.blobs.clear()
    foreman.moods.append("NOT_FOUND")

    done = ours.run(jobs.job(shell("true"), jobs.tree("data", {"a": b"1"})))

    assert out(done) == "made\n"
    assert foreman.hash(b"1") in foreman.blobs


def test_trouble_that_passes_is_tried_again(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("UNAVAILABLE")
    job = jobs.job(shell("true"))

    done = executor(foreman, jobs, retries=1).run(job)

    assert out(done) == "made\n"
    assert log(job).endswith("because; try 2 follows\nprinted\n")


@pytest.mark.parametrize("mood", ["OK", "INTERNAL", "DEADLINE_EXCEEDED"])
def test_a_checkpoint_is_kept_whatever_became_of_the_command(
    foreman: Foreman, jobs: Jobs, mood: str
) -> None:
    # given a command that a worker, the server or somebody on the worker has ended
    foreman.checkpoint = {"step": b"7\n"}
    foreman.moods, foreman.codes = deque([mood]), [137]
    checkpoint = jobs.root / "checkpoint"
    (checkpoint / "old").mkdir(parents=True)
    run = replace(shell("true"), timeout=5.0 if mood == "DEADLINE_EXCEEDED" else 0.0)
    job = jobs.job(run, checkpoint=str(checkpoint))
    ours = executor(foreman, jobs, retries=1)

    # when it has been tried as often as it may be
    done = ours.run(job)

    # then what it had saved is here, and went along with the second try
    assert [path.name for path in checkpoint.iterdir()] == ["step"]
    if mood == "DEADLINE_EXCEEDED":
        assert done.timed_out
        assert foreman.calls["Execute"] == 1
    else:
        assert done.resumed
        assert foreman.calls["Execute"] == 2
        assert foreman.sent("checkpoint/step") == b"7\n"


def test_a_command_that_is_killed_without_a_checkpoint_has_failed(
    foreman: Foreman, jobs: Jobs
) -> None:
    foreman.codes = [137]

    done = executor(foreman, jobs, retries=1).run(jobs.job(shell("true")))

    assert done.signal == 9
    assert foreman.calls["Execute"] == 1


def test_a_worker_that_is_taken_away_is_no_fault_of_the_command(
    foreman: Foreman, jobs: Jobs
) -> None:
    foreman.told, foreman.codes = b"taken\n", [143]

    with pytest.raises(HostError, match=r"a worker of `grid` was taken away .* \(2 tries\)"):
        executor(foreman, jobs, retries=1).run(jobs.job(shell("true")))


def test_trouble_that_does_not_pass_is_told(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.extend(["INTERNAL", "INTERNAL"])

    with pytest.raises(HostError, match=r"`grid` failed at executing .* because \(2 tries\)"):
        executor(foreman, jobs, retries=1).run(jobs.job(shell("true")))


def test_a_refusal_is_not_tried_again(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("FAILED_PRECONDITION")

    with pytest.raises(HostError, match="does not execute") as error:
        executor(foreman, jobs, retries=3).run(jobs.job(shell("true")))

    assert foreman.calls["Execute"] == 1
    assert "platform" in error.value.hints[0]


def test_a_server_that_is_only_a_cache_is_refused(foreman: Foreman, jobs: Jobs) -> None:
    foreman.executes = False

    with pytest.raises(HostError, match="executes nothing"):
        executor(foreman, jobs).run(jobs.job(shell("true")))


def test_a_server_that_is_not_there_is_named(jobs: Jobs) -> None:
    with running(Foreman()) as foreman:
        gone = executor(foreman, jobs)

    with pytest.raises(HostError, match="cannot be reached") as error:
        gone.run(jobs.job(shell("true")))

    assert "executors.grid.url" in error.value.hints[0]


def test_the_time_of_the_server_is_the_time_of_the_action(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("DEADLINE_EXCEEDED")

    done = executor(foreman, jobs).run(jobs.job(replace(shell("true"), timeout=5.0)))

    assert done.timed_out
    assert done.exit_code is None


def test_a_log_that_streams_is_there_once(foreman: Foreman, jobs: Jobs) -> None:
    foreman.live = [b"one\n", b"two\n"]
    foreman.printed = b"one\ntwo\nthree\n"
    job = jobs.job(shell("true"))

    executor(foreman, jobs).run(job)

    assert log(job) == "one\ntwo\nthree\n"


def test_cancel_ends_the_operation(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("stay")
    ours = executor(foreman, jobs)

    with running_job(ours, jobs.job(shell("true"))) as done:
        until(lambda: foreman.executed)
        ours.cancel()
    later = ours.run(jobs.job(shell("true")))

    assert done.result().interrupted
    assert later.interrupted
    assert foreman.calls["Execute"] == 1
    assert foreman.cancelled == ["operation/1"]


def test_cancel_ends_an_operation_whose_name_comes_late(foreman: Foreman, jobs: Jobs) -> None:
    foreman.moods.append("whisper")
    ours = executor(foreman, jobs)

    with running_job(ours, jobs.job(shell("true"))) as done:
        until(lambda: foreman.executed)
        ours.cancel()
        foreman.may_speak.set()

    assert done.result().interrupted
    assert foreman.cancelled == ["operation/1"]


def test_one_process_has_many_jobs_under_way(foreman: Foreman, jobs: Jobs) -> None:
    # given jobs that all run until the last of them has begun
    number = 20
    foreman.together = threading.Barrier(number)
    ours = executor(foreman, jobs)
    wanted = [
        jobs.job(shell(f"true {at}"), jobs.file("in.txt", b"%d" % at)) for at in range(number)
    ]

    # when threads of one process run them
    with ThreadPoolExecutor(number) as pool:
        done = list(pool.map(ours.run, wanted))

    # then each has its own outcome, over a handful of connections
    assert [out(one) for one in done] == ["made\n"] * number
    assert [log(job) for job in wanted] == ["printed\n"] * number
    assert foreman.calls["Execute"] == number
    assert foreman.calls["GetCapabilities"] <= 2
    assert len(foreman.peers) <= CONNECTIONS


def test_no_credential_is_anywhere_but_in_the_calls(
    foreman: Foreman, build: Build, tmp_path: Path
) -> None:
    # given a server that wants a token, and one of two builds that it refuses
    settings = tmp_path / "settings/mlbuild/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f'[executors.grid]\nkind = "reapi"\nurl = "{foreman.url}"\nretries = 0\n'
        'token = "canary-1"\nheaders = ["x-key: canary-2"]\n'
    )
    build.env["XDG_CONFIG_HOME"] = str(tmp_path / "settings")
    build.genrule("out", "cat").genrule("bad", "cat")
    flags = ("--executor", "grid", "--events", str(tmp_path / "events"))

    # when it executes one and refuses one
    good = build.run("build", "--json", *flags, "//:out")
    seen = dict(foreman.metadata)
    foreman.refused["Execute"] = grpc.StatusCode.UNAUTHENTICATED
    bad = build.run("build", "--json", *flags, "//:bad")

    # then it was let in, and neither what was sent nor what is kept or said holds the token
    assert (good.code, bad.code) == (0, 36)
    assert (seen["authorization"], seen["x-key"]) == ("Bearer canary-1", "canary-2")
    assert not any(b"canary" in blob for blob in foreman.blobs.values())
    assert "canary" not in good.stdout + good.stderr + bad.stdout + bad.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != settings]
    assert not [path for path in files if b"canary" in path.read_bytes()]


@pytest.mark.parametrize("name", ["..", "a/b", "", "nul\0"])
def test_no_output_leaves_its_folder(foreman: Foreman, jobs: Jobs, name: str) -> None:
    foreman.files[name] = b"x"

    with pytest.raises(HostError, match="no name"):
        executor(foreman, jobs).run(jobs.job(shell("true")))


def test_wrong_bytes_are_not_believed(foreman: Foreman, jobs: Jobs) -> None:
    def twisted(answer: Any) -> Any:
        for response in answer.responses:
            response.data = response.data.replace(b"made", b"fake")
        return answer

    foreman.lies["BatchReadBlobs"] = twisted

    with pytest.raises(HostError, match="lost or damaged"):
        executor(foreman, jobs).run(jobs.job(shell("true")))


def test_no_secret_of_the_caller_is_sent(foreman: Foreman, jobs: Jobs) -> None:
    run = replace(shell("true"), network=True)
    job = jobs.job(run, caller_env={"WANDB_API_KEY": "s3cret-value"})

    with pytest.raises(HostError, match="`WANDB_API_KEY`"):
        executor(foreman, jobs).run(job)

    assert not any(b"s3cret-value" in blob for blob in foreman.blobs.values())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (b"exposed /home\n", "shows more than an action's inputs: `/home`"),
        (b"network\n", "has a network"),
        (b"platform linux-x86_64/other-1\n", "has another platform"),
    ],
)
def test_a_worker_that_is_not_as_the_key_says_is_refused(
    foreman: Foreman, jobs: Jobs, told: bytes, said: str
) -> None:
    foreman.told = told

    with pytest.raises(HostError, match=said):
        executor(foreman, jobs).run(jobs.job(shell("true")))


def test_properties_come_from_the_template(foreman: Foreman, jobs: Jobs) -> None:
    platform = {"OSFamily": "linux", "gpu_count": "{gpus}", "kind": "{gpu}", "cores": "{cpus}"}
    ours = executor(foreman, jobs, platform=platform)
    asking = replace(Run(argv=(("true",),)), gpus="A100:2", cpus=4)

    ours.run(jobs.job(asking))
    found = {one.name: one.value for one in foreman.command().platform.properties}
    ours.run(jobs.job(shell("true")))
    modest = {one.name: one.value for one in foreman.command().platform.properties}

    assert found == {"OSFamily": "linux", "gpu_count": "2", "kind": "A100", "cores": "4"}
    assert modest == {"OSFamily": "linux", "cores": "1"}


def test_a_worker_that_executes_in_some_folder_must_be_said_to_do_so(jobs: Jobs) -> None:
    # given a worker that shows all of its host, as many do
    with running(Hands()) as hands:
        sealed = executor(hands, jobs)
        open_ = executor(hands, jobs, hermetic=False)
        script = 'cat in.txt; cat "$MLBUILD_CONTEXT"; echo it\\\'s >"$1"; exit 3'
        run = replace(shell(script), names=(("text", "in.txt"),))
        run = replace(run, argv=(*run.argv, ("sh",), (OutputRef("out.txt"),)))
        job = jobs.job(run, jobs.file("in.txt", b"in\n"))

        # when it is taken for a sandbox, and when it is not
        with pytest.raises(HostError, match="shows more than an action's inputs"):
            sealed.run(jobs.job(shell("true")))
        done = open_.run(job)

    # then it is refused, and then it runs with the paths of its folder
    first, _, context = log(job).partition("\n")
    assert (done.exit_code, out(done), first) == (3, "it's\n", "in")
    assert json.loads(context)["inputs"] == {"text": "in.txt"}
    assert json.loads(context)["outputs"]["out.txt"].endswith("/out/out.txt")
    assert (sealed.hermetic, open_.hermetic) == (True, False)
