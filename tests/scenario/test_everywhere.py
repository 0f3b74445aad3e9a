"""The same training on every kind of machine, each a real one: by ssh, by Slurm, by REAPI."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlbuild.exec.bubblewrap import Bubblewrap
from tests import ssh
from tests.harness import REPOSITORY, Build
from tests.processes import has_ended, running
from tests.reapi_servers import CacheServer
from tests.slurm import Cluster

PATIENCE = 120.0  # seconds for what must happen
NO_SANDBOX = Bubblewrap("").available()

pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)

# Saves a step and then waits, or tells what it goes on from.
LEARNER = """
import json, os, sys, time
place = json.load(open(os.environ["MLBUILD_CONTEXT"]))["checkpoint"] + "/step"
if os.path.exists(place):
    open(sys.argv[1], "w").write("from " + open(place).read())
else:
    open(place + ".new", "w").write("step 7")
    os.replace(place + ".new", place)
    print("saved", flush=True)
    time.sleep(600)
"""


@dataclass(frozen=True)
class Place:
    """Where builds run, and what a workspace must know of it."""

    kind: str
    lines: tuple[str, ...]  # of its table
    environ: Mapping[str, str] = field(default_factory=dict)

    def led(self, build: Build) -> Build:
        """Have the builds of a workspace run here."""
        table = ["", "[executors.there]", f'kind = "{self.kind}"', *self.lines, ""]
        with (build.root / "mlbuild.toml").open("a") as file:
            file.write("\n".join(table))
        build.env.update(self.environ)
        build.flags.extend(["--executor", "there"])
        return build


def by_ssh(request: pytest.FixtureRequest, _: Path) -> Place:
    host: ssh.Host = request.getfixturevalue("far_host")
    path = f"{host.bin}:{os.environ['PATH']}"
    return Place("ssh", (f'host = "ssh://{host.address}"',), {"PATH": path})


def by_slurm(request: pytest.FixtureRequest, folder: Path) -> Place:
    cluster: Cluster = request.getfixturevalue("slurm_cluster")
    environ = {**cluster.environ, "XDG_CACHE_HOME": str(cluster.folder / "cache")}
    return Place("slurm", (f'cache_dir = "{folder}/far"',), environ)


def by_casd(request: pytest.FixtureRequest, _: Path) -> Place:
    return _by_server(request.getfixturevalue("reapi_worker"))


def by_buildgrid(request: pytest.FixtureRequest, _: Path) -> Place:
    return _by_server(request.getfixturevalue("buildgrid_worker"))


def _by_server(server: CacheServer) -> Place:
    platform = ("[executors.there.platform]", 'OSFamily = "linux"')
    return Place("reapi", (f'url = "{server.url}"', *platform))


def named(way: Callable[..., Place]) -> str:
    """Return how the tests of a place are called."""
    return way.__name__


LATER = pytest.mark.long  # each place is always tried by one test at least


@pytest.fixture(
    params=[by_ssh, by_slurm, by_casd, pytest.param(by_buildgrid, marks=LATER)], ids=named
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return each place in turn; skip where it cannot be had."""
    found: Place = request.param(request, tmp_path)
    return found


@dataclass(frozen=True)
class Trained:
    """The digits example, shortened and trained in the sandbox of this machine."""

    build: Build
    before: Path  # a cache with its environment and no model
    facts: list[tuple[str, str, str]]
    log: str
    words: str  # on the command line of its training alone


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return the example, whose momentum is one that no other tests use."""
    folder = tmp_path_factory.mktemp("lenet")
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild")
    shutil.copytree(REPOSITORY / "examples/lenet", folder / "here", ignore=ignored)
    here = Build(folder / "here", cache=folder / "cache")
    momentum = f"0.9{os.getpid():08}1"
    here.edit("models/BUILD.ml", '"epochs": 5', '"epochs": 2')
    here.edit("models/BUILD.ml", '"momentum": 0.9', f'"momentum": {momentum}')
    here("//:env", "//data/...")
    shutil.copytree(here.cache, folder / "before", symlinks=True)
    here("//models:lenet", "--events", str(folder / "events"))
    facts = facts_of(folder / "events")
    return Trained(here, folder / "before", facts, log_of(here), f"--momentum\0{momentum}")


def facts_of(events: Path) -> list[tuple[str, str, str]]:
    """Return what finished, with its key and what it made."""
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    finished = [one for one in lines if one["type"] == "ActionFinished"]
    return sorted((one["id"], one["key"], str(one["result"]["tree"])) for one in finished)


def log_of(build: Build) -> str:
    """Return what the newest log of the training holds by now."""
    logs = sorted(build.cache.glob("runs/*/logs/*net*.log"), key=lambda path: path.stat().st_ctime)
    return logs[-1].read_text() if logs else ""


def jobs_of(build: Build) -> list[dict[str, object]]:
    """Return what `mlbuild jobs` lists."""
    found: list[dict[str, object]] = json.loads(build.run("jobs", "--json").stdout)["jobs"]
    return found


def described(build: Build, label: str) -> dict[str, object]:
    """Return what is known of the result of a target."""
    found: dict[str, object] = json.loads(build.run("describe", label, "--json").stdout)["result"]
    return found


def until(condition: Callable[[], object], what: str, client: "subprocess.Popen[str]") -> None:
    """Wait until `condition()` holds, as long as the client goes on."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert client.poll() is None, client.communicate()
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


@contextmanager
def started(build: Build, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """Start a build; end it in any case."""
    with build.start("build", *build.flags, *words) as client:
        try:
            yield client
        finally:
            client.kill()


def send(pids: set[int], number: signal.Signals) -> None:
    """Send a signal to all of them."""
    for pid in pids:
        os.kill(pid, number)


def test_lenet_there_is_the_lenet_of_the_sandbox_whatever_becomes_of_the_client(
    trained: Trained, place: Place, tmp_path: Path
) -> None:
    # given a training there, held in its middle, whose client was killed
    shutil.copytree(trained.before, tmp_path / "cache", symlinks=True)
    there = place.led(trained.build.copy(tmp_path / "there", cache=tmp_path / "cache"))
    events = tmp_path / "events"
    with started(there, "//models:lenet") as client:
        until(lambda: running("python", trained.words), "training", client)
        until(lambda: place.kind == "reapi" or "epoch 1/2" in log_of(there), "a step", client)
        before = running("python", trained.words)
        send(before, signal.SIGSTOP)
        until(lambda: [job["label"] for job in jobs_of(there)] == ["//models:lenet"], "it", client)
        client.kill()
        client.communicate(timeout=PATIENCE)

    # when the same is typed again
    with started(there, "//models:lenet", "--events", str(events)) as client:
        until(lambda: events.exists() and "ActionStarted" in events.read_text(), "it", client)
        (job,) = jobs_of(there)
        during = running("python", trained.words)
        send(during, signal.SIGCONT)
        _, stderr = client.communicate(timeout=PATIENCE)

    # then it was followed, not begun again, and key, model and log are those of the sandbox
    assert client.returncode == 0, stderr
    assert before
    assert during == before
    assert (job["label"], job["executor"], job["phase"]) == ("//models:lenet", "there", "running")
    assert facts_of(events) == trained.facts
    assert "//models:lenet" in [id_ for id_, _, _ in trained.facts]
    assert log_of(there) == trained.log
    assert described(trained.build, "//models:lenet")["executor"] == "sandbox"
    assert described(there, "//models:lenet")["executor"] == "there"


@pytest.mark.parametrize(
    "place",
    [
        by_ssh,
        pytest.param(by_slurm, marks=LATER),
        pytest.param(by_casd, marks=LATER),
        pytest.param(by_buildgrid, marks=LATER),
    ],
    ids=named,
    indirect=True,
)
def test_a_training_that_is_killed_there_goes_on_from_its_checkpoint(
    build: Build, place: Place
) -> None:
    # given a training that has saved a step
    mark = f"mark {os.getpid()} {build.root}"
    build.file("learn.py", LEARNER).file(
        "BUILD.ml",
        'train(name = "net", script = "learn.py", outs = ["model.txt"],\n'
        f'      args = ["$(output model.txt)", "{mark}"])\n',
    )
    place.led(build)
    with started(build, "--json", "//:net") as client:
        until(lambda: running("python", mark), "training", client)
        until(lambda: place.kind == "reapi" or log_of(build) == "saved\n", "a step", client)
        (learner,) = running("python", mark)

        # when who runs it is killed: a server of the API tells of none, and its sandbox has none
        (job,) = jobs_of(build)
        killed = int(str(job["pid"])) or learner
        os.kill(killed, signal.SIGKILL)
        stdout, stderr = client.communicate(timeout=PATIENCE)

    # then it was tried again and went on from there, and nothing of the first try is left
    assert client.returncode == 0, stderr
    assert json.loads(stdout)["ran"] == ["//:net"]
    assert build.output("net/model.txt") == "from step 7"
    assert described(build, "//:net")["resumed"]
    log = log_of(build)
    assert log.count("saved\n") == 1
    assert "try 2 follows" in log
    assert place.kind == "reapi" or f"(process {killed}) was killed or lost" in log
    assert has_ended(learner)
