"""What Slurm does to jobs: nodes that fail, pre-emption, limits on time and memory."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness import Build
from tests.scenario.test_slurm import PATIENCE, Client, jobs_of, led, number_of, started, until
from tests.scenario.test_ssh import log_of, slow_training
from tests.slurm import Cluster

EATER = "import time\nx = []\nwhile True:\n    x.append(bytearray(1 << 24))\n"


@pytest.fixture
def queued(build: Build, slurm_cluster: Cluster) -> Build:
    """Return a workspace whose builds run in Slurm."""
    return led(build, slurm_cluster)


def state_of(cluster: Cluster, number: str) -> str:
    """Return the state of a job as Slurm tells it."""
    return cluster.said("squeue", "-h", "-t", "all", "-j", number, "-o", "%T", check=False)


def now(cluster: Cluster, number: str) -> None:
    """Have a job that Slurm starts again wait no longer than it must."""
    cluster.said("scontrol", "update", f"JobId={number}", "StartTime=now")


def check_resumed(build: Build, client: Client) -> None:
    """Make sure that the one target of a build came to its end from its checkpoint."""
    stdout, stderr = client.communicate(timeout=PATIENCE * 3)
    assert client.returncode == 0, stderr
    assert json.loads(stdout)["ran"] == ["//:net"]
    assert json.loads(build.run("describe", "//:net", "--json").stdout)["result"]["resumed"]


@pytest.mark.long
def test_a_job_that_slurm_starts_again_resumes_from_its_checkpoint(
    queued: Build, slurm_cluster: Cluster
) -> None:
    slow_training(queued, steps=200)
    with started(queued, "--json", "//:net") as client:
        until(lambda: "step 30\n" in log_of(queued), "training", client=client)
        number = number_of(queued)

        slurm_cluster.said("scontrol", "requeue", number)
        until(lambda: state_of(slurm_cluster, number) == "PENDING", "its end", client=client)
        now(slurm_cluster, number)

        check_resumed(queued, client)
    assert log_of(queued).splitlines()[-1] == "step 199"


@pytest.mark.long
def test_a_job_whose_node_fails_goes_on_in_another_job(
    build: Build, slurm_cluster: Cluster
) -> None:
    slow_training(led(build, slurm_cluster, "requeue = false"), steps=200)
    with started(build, "--json", "//:net") as client:
        until(lambda: "step 30\n" in log_of(build), "training", client=client)
        number = number_of(build)

        slurm_cluster.down()
        until(lambda: state_of(slurm_cluster, number) == "NODE_FAIL", "its end", client=client)
        slurm_cluster.up()

        check_resumed(build, client)
    assert f"its Slurm job {number} was lost: NODE_FAIL; try 2 follows" in log_of(build)


@pytest.mark.parametrize(
    ("requeue", "state"),
    [("false", "PREEMPTED"), ("true", "PENDING")],
)
@pytest.mark.long
def test_a_job_that_makes_way_for_another_goes_on_later(
    build: Build, slurm_cluster: Cluster, requeue: str, state: str
) -> None:
    lines = ('partition = "low"', f"requeue = {requeue}")
    slow_training(led(build, slurm_cluster, *lines), steps=200)
    with started(build, "--json", "//:net") as client:
        until(lambda: "step 30\n" in log_of(build), "training", client=client)
        number = number_of(build)

        slurm_cluster.said("sbatch", "-p", "main", "-c", "8", "-o", "/dev/null", "--wrap", "true")
        until(lambda: state_of(slurm_cluster, number) == state, "its end", client=client)
        if state == "PENDING":
            now(slurm_cluster, number)

        check_resumed(build, client)


@pytest.mark.long
def test_a_job_that_hears_of_its_end_saves_what_it_knows(
    queued: Build, slurm_cluster: Cluster
) -> None:
    queued.file(
        "train.py",
        "import json, os, signal, sys, time\n"
        "place = json.load(open(os.environ['MLBUILD_CONTEXT']))['checkpoint'] + '/step'\n"
        "first = int(open(place).read()) if os.path.exists(place) else 0\n"
        "heard = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: heard.append(1))\n"
        "for step in range(first, 150):\n"
        "    if heard:\n"
        "        open(place, 'w').write(str(step))\n"
        "        sys.exit(1)\n"
        "    print('step', step, flush=True)\n"
        "    time.sleep(0.02)\n"
        "open(sys.argv[1], 'w').write('model')\n",
    )
    queued.file(
        "BUILD.ml",
        'train(name = "net", script = "train.py", args = ["$(output model.txt)"],\n'
        '      outs = ["model.txt"])\n',
    )
    with started(queued, "--json", "//:net") as client:
        until(lambda: "step 30\n" in log_of(queued), "training", client=client)

        # what `--signal=B:USR1@60` does a minute before the end
        slurm_cluster.said("scancel", "--batch", "--signal=USR1", number_of(queued))

        check_resumed(queued, client)
    steps = [line for line in log_of(queued).splitlines() if line.startswith("step")]
    assert steps == [f"step {n}" for n in range(150)]


@pytest.mark.long
def test_limits_on_time_are_told_and_outlived(build: Build, slurm_cluster: Cluster) -> None:
    led(build, slurm_cluster, 'partition = "short"')
    build.file(
        "train.py",
        "import json, os, signal, sys, time\n"
        "place = json.load(open(os.environ['MLBUILD_CONTEXT']))['checkpoint'] + '/seen'\n"
        "signal.signal(signal.SIGTERM, lambda *_: open(place, 'w').write('x') and sys.exit(1))\n"
        "while not os.path.exists(place):\n"
        "    time.sleep(0.1)\n"
        "open(sys.argv[1], 'w').write('model')\n",
    )
    build.file(
        "BUILD.ml",
        'train(name = "net", script = "train.py", args = ["$(output m)"], outs = ["m"])\n'
        'genrule(name = "stuck", outs = ["a"], cmd = "trap : TERM; sleep 600; sleep 600")\n'
        'genrule(name = "frozen", outs = ["b"], cmd = "sleep 600")\n',
    )

    def frozen() -> list[int]:
        """Return the processes that run `frozen`."""
        jobs = [one for one in jobs_of(build) if one["phase"] == "running"]
        return [int(str(one["pid"])) for one in jobs if one["owner"] == "//:frozen"]

    with started(build, "--keep-going", "//...") as client:
        until(lambda: bool(frozen()), "its start", client=client)
        runner = os.pidfd_open(frozen()[0])
        end = time.monotonic() + 4 * PATIENCE
        while client.poll() is None and time.monotonic() < end:
            with suppress(ProcessLookupError):  # Slurm wakes it, and it must not hear why
                signal.pidfd_send_signal(runner, signal.SIGSTOP)
            time.sleep(0.02)
        os.close(runner)
        _, stderr = client.communicate(timeout=1)

    assert client.returncode == 36
    assert stderr.count("after 1:00, the limit of the partition `short` or of the job") >= 2
    assert json.loads(build.run("describe", "//:net", "--json").stdout)["result"]["resumed"]
    named = ("-t", "all", "-n", "//:frozen", "-o", "%T")
    assert slurm_cluster.said("squeue", "-h", *named) == "TIMEOUT"


@pytest.mark.long
@pytest.mark.parametrize("resources", ['{"memory": "200MiB"}', "{}"])
def test_too_much_memory_in_slurm_is_told_as_that(queued: Build, resources: str) -> None:
    queued.file("eat.py", EATER)
    rule = f'train(name = "net", script = "eat.py", outs = ["o"], resources = {resources})\n'
    queued.file("BUILD.ml", rule)

    done = queued("//:net", code=1)

    assert done.failed == ["//:net"]
    assert "it used more than its memory" in done.stderr
    assert "follows" not in log_of(queued)


@pytest.mark.long
def test_memory_that_costs_the_runner_its_life_is_told_too(
    queued: Build, slurm_cluster: Cluster
) -> None:
    queued.file("eat.py", f"import time\nprint('on', flush=True)\ntime.sleep(2)\n{EATER}")
    queued.file("BUILD.ml", 'process(name = "net", script = "eat.py", outs = ["o"])\n')
    with started(queued, "//:net") as client:
        until(lambda: "on\n" in log_of(queued), "its start", client=client)
        number = number_of(queued)
        (job,) = jobs_of(queued)

        Path(f"/proc/{job['pid']}/oom_score_adj").write_text("1000")
        _, stderr = client.communicate(timeout=PATIENCE)

    assert client.returncode == 1
    assert "it used more than its memory" in stderr
    assert state_of(slurm_cluster, number) == "OUT_OF_MEMORY"
