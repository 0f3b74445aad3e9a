"""What can go wrong with a Docker Engine: each thing has its name, and nothing is left behind."""

import gc
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlbuild.core.action import Run
from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Gpu
from mlbuild.exec.docker import Docker
from mlbuild.exec.docker_engine import Engine
from tests import docker
from tests.contract.jobs import Jobs, shell
from tests.harness import Build

WAITING = """
container_environment(name = "image", archive = "image.tar")
process(name = "long", script = "long.py", environment = ":image", outs = ["o"])
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path, image=docker.unpacked())


@pytest.fixture
def executor(engine: docker.Engine, tmp_path: Path) -> Iterator[Docker]:
    made = Docker(str(tmp_path / "own"), {"DOCKER_HOST": engine.address})
    yield made
    made.close()


@pytest.fixture
def own_engine() -> Iterator[docker.Engine]:
    """Return an engine that a test may end."""
    yield from docker.engine()


def running(engine: docker.Engine) -> str:
    """Return the id of the running container once there is one."""
    for _ in range(600):
        found = engine.docker("ps", "-q", "--no-trunc").stdout.split()
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no container runs")


def test_a_container_has_no_rights_and_the_limits_that_were_asked_for(
    executor: Docker, engine: docker.Engine, jobs: Jobs
) -> None:
    job = jobs.job(replace(shell("sleep 1000"), memory=256 << 20, cpus=2))
    thread = threading.Thread(target=lambda: executor.run(job))
    thread.start()
    container = running(engine)
    (found,) = json.loads(engine.docker("inspect", container).stdout)
    executor.cancel()
    thread.join()

    host = found["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] is True
    assert host["Init"] is True
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (
        256 << 20,
        256 << 20,
        min(2, os.cpu_count() or 1) * 10**9,
    )
    assert host["PidsLimit"] == 4096
    assert host["ShmSize"] >= 2 << 30
    assert not host["Privileged"]
    assert found["Config"]["User"] == f"{os.geteuid()}:{os.getegid()}"
    assert found["Image"].startswith("sha256:")
    written = {one["Destination"] for one in found["Mounts"] if one["RW"]}
    assert written == {"/out"}
    assert engine.containers() == []


def test_an_image_that_the_engine_has_lost_is_loaded_again(
    executor: Docker, engine: docker.Engine, jobs: Jobs, tmp_path: Path
) -> None:
    assert executor.run(jobs.job(shell("true"))).exit_code == 0
    (remembered,) = (tmp_path / "own").glob("image-*")
    image = remembered.read_text(encoding="ascii")

    assert engine.docker("rmi", "-f", image).returncode == 0

    assert executor.run(jobs.job(shell("true"))).exit_code == 0
    assert engine.docker("inspect", image).returncode == 0  # the same id


# The SDK does not close a socket that could not connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_dies_is_named(own_engine: docker.Engine, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, image=docker.unpacked())
    executor = Docker(str(tmp_path / "own"), {"DOCKER_HOST": own_engine.address})
    errors: list[BaseException] = []

    def run() -> None:
        try:
            executor.run(jobs.job(shell("sleep 1000")))
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    running(own_engine)
    own_engine.stop(signal.SIGKILL)
    thread.join()
    executor.close()

    (error,) = errors
    assert isinstance(error, HostError)
    assert "engine" in str(error).lower()
    del error
    errors.clear()
    gc.collect()


def test_containers_of_a_killed_mlbuild_are_swept_by_the_next(
    build: Build, engine: docker.Engine, executor: Docker
) -> None:
    docker.archive(docker.rootfs(), build.root / "image.tar")
    build.file("BUILD.ml", WAITING).file("long.py", "import time; time.sleep(1000)\n")
    build.env["DOCKER_HOST"] = engine.address
    mlbuild = build.start("build", "//:long")
    container = running(engine)
    label = f"label=mlbuild.pid={_label(engine, container)}"

    pid = int(_label(engine, container).partition(".")[0])
    os.kill(mlbuild.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    mlbuild.communicate()
    assert engine.docker("ps", "-aq", "--filter", label).stdout.split()

    assert executor.available() == ""
    assert engine.containers() == []


def _label(engine: docker.Engine, container: str) -> str:
    words = ("inspect", "-f", '{{index .Config.Labels "mlbuild.pid"}}', container)
    return engine.docker(*words).stdout.strip()


def test_containers_of_a_living_mlbuild_are_left_alone(
    executor: Docker, engine: docker.Engine, jobs: Jobs
) -> None:
    thread = threading.Thread(target=lambda: executor.run(jobs.job(shell("sleep 1000"))))
    thread.start()
    container = running(engine)

    other = Engine({"DOCKER_HOST": engine.address})
    swept = other.sweep()
    other.close()

    assert swept == 0
    assert running(engine) == container
    executor.cancel()
    thread.join()


def test_an_interrupted_build_leaves_no_container(build: Build, engine: docker.Engine) -> None:
    docker.archive(docker.rootfs(), build.root / "image.tar")
    build.file("BUILD.ml", WAITING).file("long.py", "import time; time.sleep(1000)\n")
    build.env["DOCKER_HOST"] = engine.address
    mlbuild = build.start("build", "//:long")
    running(engine)

    mlbuild.send_signal(signal.SIGINT)
    mlbuild.communicate()

    assert mlbuild.returncode == 8
    assert engine.containers() == []


def test_an_engine_of_another_host_is_refused(own_engine: docker.Engine, tmp_path: Path) -> None:
    own_engine.stop()
    own_engine.host = "elsewhere"
    own_engine.start()
    executor = Docker(str(tmp_path / "own"), {"DOCKER_HOST": own_engine.address})

    why_not = executor.available()

    executor.close()
    assert "is on another host" in why_not


def test_the_docker_context_in_use_is_honoured(
    engine: docker.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    words = ["docker", "context", "create", "ours", "--docker", f"host={engine.address}"]
    subprocess.run(words, check=True, capture_output=True)
    subprocess.run(["docker", "context", "use", "ours"], check=True, capture_output=True)

    used = Engine(dict(os.environ))
    address = used.facts().address
    used.close()

    assert address == f"{engine.address} (context `ours`)"
    with pytest.raises(HostError, match="there is no docker context `theirs`"):
        Engine({**os.environ, "DOCKER_CONTEXT": "theirs"})


def test_a_word_that_is_no_text_is_refused(executor: Docker, jobs: Jobs) -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        executor.run(jobs.job(Run(argv=(("/bin/echo",), ("\udcff",)))))


def test_a_gpu_that_the_engine_cannot_give_is_named(executor: Docker, jobs: Jobs) -> None:
    if shutil.which("nvidia-container-runtime-hook"):
        pytest.skip("this engine can give GPUs")
    job = replace(jobs.job(shell("true")), gpus=(Gpu("GPU-1", "A100"),))

    with pytest.raises(HostError, match=r"device driver|nvidia"):
        executor.run(job)


def test_an_image_without_a_shell_runs_what_it_has(
    executor: Docker, tmp_path: Path, jobs: Jobs
) -> None:
    tree = tmp_path / "bare"
    shutil.copytree(docker.unpacked(), tree, symlinks=True)
    for name in ("sh", "dash"):
        (tree / "rootfs/usr/bin" / name).unlink(missing_ok=True)
    jobs.image = tree

    job = jobs.job(Run(argv=(("echo",), ("hello",))))
    done = executor.run(job)

    assert done.exit_code == 0
    assert Path(job.log).read_text(encoding="utf-8") == "hello\n"
    with pytest.raises(HostError, match="no program `sh` in the image"):
        executor.run(jobs.job(Run(argv=(("sh",), ("-c",), ("true",)))))
