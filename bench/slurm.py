"""Slurm: how fast jobs are handed in, on a cluster of our own whose node takes none meanwhile."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from bench.measure import Bench, Figure, mlbuild, wipe, write
from mlbuild.store.private import rooms
from tests import slurm

FACTOR = 1.5
WITHIN = 300.0  # seconds until all jobs are handed in
_SUBMITTED = re.compile(r"\[([0-9T:.-]+)\] _slurm_rpc_submit_batch_job: JobId=")


def figures(bench: Bench) -> list[Figure]:
    """Compare with a loop of `sbatch`; nothing where there can be no cluster."""
    folder = Path(bench.place("slurm"))
    clusters = slurm.cluster(folder / "c")
    try:
        return [_submission(bench, cluster, str(folder)) for cluster in clusters]
    except pytest.skip.Exception:
        return []
    finally:
        clusters.close()  # while its files are there
        wipe(str(folder))


def _submission(bench: Bench, cluster: slurm.Cluster, folder: str) -> Figure:
    count = 100  # with fewer, the start of the agent would be most of it
    cluster.said("scontrol", "update", f"nodename={cluster.node}", "state=drain", "reason=bench")
    write(
        f"{folder}/w/mlbuild.toml",
        '[workspace]\nname = "bench"\n[executors.cluster]\nkind = "slurm"\n'
        f'cache_dir = "{folder}/far"\n',
    )
    rule = 'genrule(name = "n%d" % n, outs = ["n%d.txt" % n], cmd = "echo %d > $@" % n)'
    write(f"{folder}/w/BUILD.ml", f"[{rule} for n in range({count})]\n")
    # Once for what only the first build has to do; then in turns.
    _ours(bench, cluster, folder, count=count)
    taken = [
        (_ours(bench, cluster, folder, count=count), _theirs(cluster, count))
        for _ in range(bench.size(3, 1))
    ]
    ours, theirs = (sorted(one)[len(one) // 2] for one in zip(*taken, strict=True))
    what = f"{count} jobs handed to Slurm, from the first known to the last there"
    return Figure(what, "a loop of `sbatch`", ours, theirs, factor=FACTOR)


def _ours(bench: Bench, cluster: slurm.Cluster, folder: str, *, count: int) -> float:
    """Return the seconds from the first job that a build takes up until Slurm has the last one.

    It makes a scratch folder for a job before anything else, so the start of the agent counts.
    """
    known, started = len(_moments(cluster)), time.time_ns() / 1e9
    client = subprocess.Popen(
        mlbuild("build", "--rerun", "--executor", "cluster", "//..."),
        cwd=f"{folder}/w",
        env={**bench.environment(), **cluster.environ, "XDG_CACHE_HOME": f"{folder}/cache"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _wait(lambda: len(_moments(cluster)) >= known + count or client.poll() is not None)
        scratch = [path.stat().st_mtime for path in Path(rooms(bench.cache)).glob("*/*")]
        begun = min(at for at in scratch if at >= started)
        return _last(cluster, known, count) - begun
    finally:
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
        said = client.communicate()[1].decode("utf-8", "replace")
        _clear(cluster)
        if client.returncode != -signal.SIGKILL:
            raise SystemExit(f"the build ended before all its jobs were handed in:\n{said}")


def _theirs(cluster: slurm.Cluster, count: int) -> float:
    """Return the seconds of a loop in the shell, until Slurm has its last job."""
    known = len(_moments(cluster))
    loop = f"for n in $(seq {count}); do printf '#!/bin/sh\\ntrue\\n' | sbatch --parsable; done"
    started = time.time_ns() / 1e9
    cluster.said("sh", "-c", loop)
    taken = _last(cluster, known, count) - started
    _clear(cluster)
    return taken


def _moments(cluster: slurm.Cluster) -> list[float]:
    """Return when each job came, by the controller's own log."""
    text = (cluster.folder / "log" / "slurmctld").read_text(errors="replace")
    return [datetime.fromisoformat(one).timestamp() for one in _SUBMITTED.findall(text)]


def _last(cluster: slurm.Cluster, known: int, count: int) -> float:
    """Return when the last job came."""
    moments = _moments(cluster)[known:]
    if len(moments) != count:
        raise SystemExit(f"{len(moments)} jobs of {count} came to Slurm")
    return max(moments)


def _clear(cluster: slurm.Cluster) -> None:
    cluster.said("scancel", "--user=root")
    _wait(lambda: not cluster.said("squeue", "-h", "-o", "%i"))


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
