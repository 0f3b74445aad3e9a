"""Docker: an action in a container, and `docker run --rm` of the same image and command."""

import os
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.measure import Bench, Figure, medians
from mlbuild.exec.docker import Docker
from tests import docker
from tests.contract.jobs import Jobs, shell

COMMAND = "true"


def figures(bench: Bench) -> list[Figure]:
    """Compare them on an engine of our own; nothing where none can be started."""
    if docker.why_no_engine():
        return []
    return [_compared(bench, engine) for engine in docker.engine()]


def _compared(bench: Bench, engine: docker.Engine) -> Figure:
    folder = Path(bench.folder, "docker")
    folder.mkdir()
    environ = {**os.environ, "DOCKER_HOST": engine.address}  # noqa: TID251 - as a user has it
    executor = Docker(str(folder / "own"), environ)
    jobs = Jobs(folder, image=docker.unpacked())

    def ours() -> float:
        job = jobs.job(shell(COMMAND))
        started = time.perf_counter()
        executor.run(job)
        return time.perf_counter() - started

    ours()  # gives the image to the engine
    (image,) = engine.docker("images", "-q", "--no-trunc").stdout.split()
    times = medians(
        {"mlbuild": ours, "docker": partial(_theirs, image, environ)}, repeats=bench.size(25, 5)
    )
    executor.close()
    what = "one action in a container, image loaded"
    return Figure(what, "docker run --rm", times["mlbuild"], times["docker"], factor=1.15)


def _theirs(image: str, environ: Mapping[str, str]) -> float:
    words = ["docker", "run", "--rm", "--network", "none", image, "/bin/sh", "-c", COMMAND]
    started = time.perf_counter()
    subprocess.run(words, env=dict(environ), check=True, capture_output=True)
    return time.perf_counter() - started
