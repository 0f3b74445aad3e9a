"""Builds whose jobs a real Slurm schedules, on a cluster of one node that is this host."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from subprocess import Popen

import pytest

from tests import ssh
from tests.harness import Build
from tests.scenario.test_ssh import log_of, slow_training
from tests.slurm import Cluster

PATIENCE = 60.0  # seconds for what must happen

Client = Popen[str]


@pytest.fixture
def queued(build: Build, slurm_cluster: Cluster) -> Build:
    """Return a workspace whose builds run in Slurm."""
    return led(build, slurm_cluster)


def led(build: Build, cluster: Cluster, *lines: str) -> Build:
    """Have a workspace use the cluster, with more lines in its table."""
    far = build.root.parent / "far"
    lines = (*lines, f'cache_dir = "{far}"') if "cache_dir" not in "".join(lines) else lines
    table = ["[executors.cluster]", 'kind = "slurm"', *lines]
    build.file("mlbuild.toml", '[workspace]\nname = "test"\n' + "\n".join(table) + "\n")
    build.env.update(cluster.environ, XDG_CACHE_HOME=str(cluster.folder / "cache"))
    build.flags.extend(["--executor", "cluster"])
    return build


def until(condition: Callable[[], bool], what: str, *, client: Client | None = None) -> None:
    """Wait until `condition()` holds, as long as the client goes on."""
    end = time.monotonic() + PATIENCE
    while not condition():
        over = client is not None and client.poll() is not None
        assert not over, client.communicate() if client else ""
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.05)


@contextmanager
def started(build: Build, *words: str) -> Iterator[Client]:
    """Start a build; end it in any case."""
    client = build.start("build", *build.flags, *words)
    try:
        yield client
    finally:
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
        client.communicate()


def jobs_of(build: Build) -> list[dict[str, object]]:
    """Return the states of the jobs that go on, as their runners told them."""
    states = (build.root.parent / "far" / "remote" / "jobs").glob("*/state")
    said = [json.loads(path.read_text()) for path in states]
    return [one for one in said if one["phase"] in {"queued", "running"}]


def number_of(build: Build) -> str:
    """Return what Slurm calls the one job that runs."""
    (job,) = jobs_of(build)
    return str(job["job"]).removeprefix("slurm ")


@pytest.mark.long
def test_a_build_in_slurm_has_the_key_and_the_bytes_of_a_local_one(
    queued: Build, tmp_path: Path
) -> None:
    queued.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt").genrule(
        "twice", "cat", ":up"
    )
    local = queued.copy(tmp_path / "local", cache=tmp_path / "cache-local")
    local.flags.clear()
    events, here = tmp_path / "events", tmp_path / "events-local"

    done = queued("//...", "--events", str(events))
    local("//...", "--events", str(here))

    assert done.ran == ["//:twice", "//:up"]
    assert queued.output("twice/twice.txt") == "ONE\n"

    def facts(path: Path) -> list[tuple[str, str, str]]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        finished = [one for one in lines if one["type"] == "ActionFinished"]
        return sorted((one["id"], one["key"], str(one["result"]["tree"])) for one in finished)

    assert facts(events) == facts(here)
    assert queued.run("describe", "//:up", "--json").stdout.count('"cluster"') == 1


@pytest.mark.long
def test_a_failure_in_slurm_is_told_like_one_here(queued: Build) -> None:
    queued.genrule("bad", "sh -c 'echo told >&2; exit 7'")

    done = queued("//:bad", code=1)

    assert done.failed == ["//:bad"]
    assert "exit code 7" in done.stderr
    assert "told" in done.stderr


@pytest.mark.long
def test_a_killed_client_finds_its_job_in_slurm_again(
    queued: Build, slurm_cluster: Cluster
) -> None:
    slow_training(queued, steps=300)
    with started(queued, "//:net") as client:
        until(lambda: "step 20\n" in log_of(queued), "training", client=client)
        number = number_of(queued)
        os.kill(client.pid, signal.SIGKILL)

    again = queued("//:net")

    assert again.ran == ["//:net"]
    assert log_of(queued).splitlines() == [f"step {n}" for n in range(300)]
    told = slurm_cluster.said("squeue", "-h", "-t", "all", "-n", "//:net", "-o", "%i %T")
    assert f"{number} COMPLETED" in told


@pytest.mark.long
def test_ctrl_c_ends_what_runs_in_slurm_and_what_waits_there(
    queued: Build, slurm_cluster: Cluster
) -> None:
    queued.file(
        "BUILD.ml",
        'genrule(name = "runs", outs = ["o"], cmd = "echo now >&2; sleep 600")\n'
        'genrule(name = "waits", outs = ["p"], cmd = "sleep 600", resources = {"cpus": 8})\n',
    )

    def states() -> list[str]:
        names = ("-n", "//:runs,//:waits", "-t", "all")
        return sorted(slurm_cluster.said("squeue", "-h", *names, "-o", "%T").split())

    with started(queued, "//...") as client:
        both = ["PENDING", "RUNNING"]
        until(lambda: states() == both, "one that runs and one that waits", client=client)

        client.send_signal(signal.SIGINT)
        client.communicate(timeout=PATIENCE)

    assert client.returncode == 8
    until(lambda: not {"PENDING", "RUNNING"} & set(states()), "the end of both")


@pytest.mark.long
def test_a_build_says_what_its_job_waits_for_in_slurm(
    queued: Build, slurm_cluster: Cluster
) -> None:
    words = ("--parsable", "-c8", "--mem=100", "--output=/dev/null", "--wrap=sleep 600")
    other = slurm_cluster.said("sbatch", *words)
    queued.genrule("up", "echo up")

    try:
        with started(queued, "//:up") as client:
            assert client.stderr is not None
            told = next(line for line in client.stderr if "waits for" in line)
            slurm_cluster.said("scancel", other)
            client.communicate(timeout=PATIENCE)
    finally:
        slurm_cluster.said("scancel", other)

    assert told.startswith("//:up  waits for Slurm: ")
    assert client.returncode == 0


def test_gpus_of_slurm_are_never_shared(queued: Build) -> None:
    queued.file(
        "hold.py",
        "import os, time\n"
        "card = os.environ['CUDA_VISIBLE_DEVICES']\n"
        "with open(os.environ['MLBUILD_OUT'] + '/seen.txt', 'w') as file:\n"
        "    file.write(f'{card} {time.time()} ')\n"
        "    time.sleep(0.2)\n"
        "    file.write(f'{time.time()}')\n",
    )
    queued.file(
        "BUILD.ml",
        "".join(
            f'process(name = "n{n}", script = "hold.py", outs = ["seen.txt"], '
            f'params = {{"n": {n}}}, resources = {{"gpus": "fake"}})\n'
            for n in range(5)
        ),
    )

    queued("//...")

    seen = [queued.output(f"n{n}/seen.txt").split() for n in range(5)]
    assert {card for card, _, _ in seen} == {"0", "1"}
    for card in ("0", "1"):
        times = sorted((float(a), float(b)) for one, a, b in seen if one == card)
        assert all(end <= start for (_, end), (start, _) in pairwise(times))


@pytest.mark.parametrize(
    ("lines", "resources", "said"),
    [
        (('partition = "night"',), "{}", "Slurm has no partition `night`"),
        ((), '{"gpus": "H100"}', "has 2 fake"),
        ((), '{"gpus": 3}', "needs 3 GPUs"),
        ((), '{"memory": "900GiB"}', "the largest node of Slurm has 8000 MiB"),
        ((), '{"cpus": 64}', "needs 64 CPUs"),
        (('options = ["--constraint=h100"]',), "{}", "Invalid feature specification"),
        (('time = "30"', 'partition = "short"'), "{}", "PartitionTimeLimit"),
    ],
)
def test_what_slurm_never_has_is_an_error_that_says_so(
    build: Build, slurm_cluster: Cluster, lines: tuple[str, ...], resources: str, said: str
) -> None:
    led(build, slurm_cluster, "retries = 0", *lines)
    build.file(
        "BUILD.ml",
        f'genrule(name = "it", outs = ["o"], cmd = "echo > $@", resources = {resources})\n',
    )

    done = build("//:it", code=36)

    assert said in done.stderr


@pytest.mark.long
def test_a_timeout_beyond_the_limit_of_a_partition_is_refused(
    build: Build, slurm_cluster: Cluster
) -> None:
    led(build, slurm_cluster, 'partition = "short"')
    build.file("BUILD.ml", 'genrule(name = "s", outs = ["o"], cmd = "true", timeout = "2h")\n')

    done = build("//:s", code=36)

    assert "Slurm ends jobs of the partition `short` after 1:00" in done.stderr


@pytest.mark.long
def test_a_job_that_somebody_cancels_in_slurm_is_told(
    queued: Build, slurm_cluster: Cluster
) -> None:
    queued.genrule("long", "sleep 600")
    with started(queued, "//:long") as client:
        running = ["running"]
        until(lambda: [one["phase"] for one in jobs_of(queued)] == running, "it", client=client)
        number = number_of(queued)

        slurm_cluster.said("scancel", number)
        _, stderr = client.communicate(timeout=PATIENCE)

    assert client.returncode == 36
    assert f"its Slurm job {number} was cancelled" in stderr


def test_words_with_a_meaning_for_shells_stay_words(build: Build, slurm_cluster: Cluster) -> None:
    far = build.root.parent / "far $(touch owned) ; 'quoted' %j"
    led(
        build,
        slurm_cluster,
        f'cache_dir = "{far}"',
        'options = ["--wckey=$(touch owned);`touch owned`", "--nice=1"]',
    )
    build.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt")

    build("//:up")

    assert build.output("up/up.txt") == "ONE\n"
    assert (far / "remote" / "jobs").is_dir()
    assert not [*build.root.parent.rglob("owned")]
    assert not Path("/owned").exists()


@pytest.mark.long
def test_a_secret_of_the_caller_stays_out_of_slurm(queued: Build, slurm_cluster: Cluster) -> None:
    queued.env["MLBUILD_CACHE_TOKEN"] = "s3cr3t-token"  # noqa: S105 - looked for below
    queued.env["HTTPS_PROXY"] = "http://ana:s3cr3t-word@proxy"
    queued.genrule("one", "cat")

    queued("//:one")

    places = (queued.root.parent / "far", slurm_cluster.folder)
    kept = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"s3cr3t" in path.read_bytes()]


@pytest.mark.long
def test_jobs_may_be_handed_in_on_a_login_node(
    build: Build, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    variables = (
        f"SLURM_CONF={slurm_cluster.conf}",
        f"XDG_CACHE_HOME={slurm_cluster.folder}/cache",
        f"PATH={slurm_cluster.environ['PATH']}",
    )
    for host in ssh.server(tmp_path / "login", variables=variables):
        led(build, slurm_cluster, f'host = "ssh://{host.address}"')
        build.env["PATH"] = f"{host.bin}:{os.environ['PATH']}"
        del build.env["SLURM_CONF"]
        build.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt")

        build("//:up")

        assert build.output("up/up.txt") == "ONE\n"


@pytest.mark.long
def test_nodes_may_keep_a_store_of_their_own(
    build: Build, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "share").mkdir()
    lines = (f'node_cache_dir = "{tmp_path}/scratch"', f'store = "file://{tmp_path}/share"')
    led(build, slurm_cluster, *lines)
    build.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt")

    build("//:up")

    assert build.output("up/up.txt") == "ONE\n"
    assert len([*(tmp_path / "share" / "jobs").iterdir()]) == 1
    assert (tmp_path / "scratch" / "trees").is_dir()


@pytest.mark.long
def test_through_a_store_too_slurm_says_how_a_job_ended(
    build: Build, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "share").mkdir()
    led(build, slurm_cluster, f'store = "file://{tmp_path}/share"').genrule("long", "sleep 600")
    with started(build, "//:long") as client:
        named = ("squeue", "-h", "-n", "//:long", "-t", "R", "-o", "%i")
        until(lambda: bool(slurm_cluster.said(*named)), "its start", client=client)

        slurm_cluster.said("scancel", number := slurm_cluster.said(*named))
        _, stderr = client.communicate(timeout=PATIENCE)

    assert client.returncode == 36
    assert f"its Slurm job {number} was cancelled" in stderr


def test_doctor_looks_at_each_link_to_slurm(queued: Build) -> None:
    done = queued.run("doctor", "--executor", "cluster", "--json")

    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.code == 0, done.stdout
    assert set(found) == {
        *("connection", "runner", "platform", "sandbox", "disk", "slurm", "partition", "gpu"),
    }
    assert {one["status"] for one in found.values()} <= {"ok", "note"}
    assert "main: 1 node of 8 CPUs, 8000 MiB, 2 fake GPUs" in found["partition"]["text"]


def test_a_slurm_that_does_not_answer_is_named(
    build: Build, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    led(build, slurm_cluster, "retries = 0")
    settings = slurm_cluster.conf.read_text()
    lines = [line for line in settings.splitlines() if not line.startswith("SlurmctldPort")]
    other = tmp_path / "slurm.conf"
    other.write_text("\n".join([*lines, "SlurmctldPort=1", "MessageTimeout=2", ""]))
    build.env["SLURM_CONF"] = str(other)
    build.genrule("one", "cat")

    started = time.monotonic()
    done = build("//:one", code=36)

    assert "Unable to contact slurm controller" in done.stderr
    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('partition = "a b"', "is a name that Slurm knows"),
        ('time = "soon"', "is a limit as sbatch takes it"),
        ('options = "--x"', "is a list of texts"),
        ('options = ["-p main"]', "takes words like `--constraint=a100`"),
        ('options = ["--output=/etc/passwd"]', "mlbuild says it for every job"),
        ('options = ["--mem=1"]', "it comes from the `resources` of targets"),
        ('gres = {A100 = "gpu a"}', "takes what Slurm calls a GPU"),
        ("slots = 4", "`slots` is no key of an executor of the kind `slurm`"),
        ("jobs = 0", "is at least 1, not 0"),
        ('cache_dir = "scratch"', "is an absolute path there"),
        ('host = "-oProxyCommand=x"', "is a host as `ssh` takes it"),
    ],
)
def test_a_table_of_slurm_that_cannot_be_meant_is_refused(
    build: Build, line: str, said: str
) -> None:
    build.file(
        "mlbuild.toml", f'[workspace]\nname = "t"\n[executors.box]\nkind = "slurm"\n{line}\n'
    )

    done = build.run("build", "--executor", "box", "//...")

    assert done.code == 2
    assert said in done.stderr
    assert "mlbuild.toml:" in done.stderr
