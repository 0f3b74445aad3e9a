"""Request: one job as `sbatch` is asked for it: options from the order and the table, a script."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import dirname
from typing import Any

import mlbuild
from mlbuild.core.action import Run
from mlbuild.core.gpus import either, parse_wishes
from mlbuild.errors import HostError
from mlbuild.remote.order import Order
from mlbuild.remote.slurm.pools import Pool, gres_of, meant
from mlbuild.remote.slurm.wanted import Wanted, seconds_of, words_of

NOTICE = 60  # seconds before its end that a job hears of it
_MARGIN = 900.0  # seconds for all that is not the command: inputs, outputs
_OWN_MEMORY = 256  # MiB for the runner, beside the command
_MIB = 1 << 20
# The batch script becomes the runner, so that signals reach it; it hears of them once it can.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from mlbuild.remote.slurm.job import main; main(sys.argv[2])"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What `sbatch` gets."""

    options: tuple[str, ...]
    script: str


def request_for(
    order: Order,
    told: Mapping[str, Any],
    *,
    wanted: Wanted,
    pools: Sequence[Pool],
    said: str,
    mark: str,
) -> Request:
    """Return the request for an order.

    `told` is for the runner, `said` the file for what it says, `mark` the comment by which the job
    is known again.
    Raises HostError for what Slurm never has.
    """
    run, action = order.run, order.action
    partition = (run.spot and wanted.spot_partition) or wanted.partition
    among = meant(pools, partition)
    _check_partition(partition, pools, among)
    options = [
        f"--job-name={action.owner}",
        f"--comment={mark}",
        f"--output={said.replace('%', '%%')}",
        *("--open-mode=append", "--chdir=/", "--export=ALL", "--nodes=1", "--ntasks=1"),
        f"--cpus-per-task={run.cpus}",
        f"--signal=B:USR1@{NOTICE}",
        "--requeue" if wanted.requeue else "--no-requeue",
        *_named("partition", partition),
        *_named("account", wanted.account),
        *_named("qos", (run.spot and wanted.spot_qos) or wanted.qos),
        *_named("time", _time(action.owner, run, wanted=wanted, pools=among)),
        *_named("mem", f"{-(-run.memory // _MIB) + _OWN_MEMORY}M" if run.memory else ""),
        *_named("tmp", _disk(run, among)),
        *_named("gres", _gres(action.owner, run, wanted=wanted, pools=among)),
        *wanted.options,
    ]
    return Request(tuple(options), script_of(told))


def script_of(told: Mapping[str, Any]) -> str:
    """Return the batch script: it has quoted words only."""
    package = dirname(dirname(mlbuild.__file__))
    words = (sys.executable, "-I", "-c", _PROGRAM, package, json.dumps(told))
    return f"#!/bin/sh\ntrap '' USR1 HUP\nexec {shlex.join(words)}\n"


def _named(name: str, value: str) -> tuple[str, ...]:
    return (f"--{name}={value}",) if value else ()


def _check_partition(partition: str, pools: Sequence[Pool], among: Sequence[Pool]) -> None:
    known = {one.partition for one in among}
    for name in filter(None, partition.split(",")):
        if pools and name not in known:
            there = ", ".join(dict.fromkeys(f"`{one.partition}`" for one in pools))
            raise HostError(f"Slurm has no partition `{name}`", hints=(f"it has {there}",))


def _time(owner: str, run: Run, *, wanted: Wanted, pools: Sequence[Pool]) -> str:
    """Return the limit on its time: what the target says and some more, as far as that goes."""
    if not run.timeout:
        return wanted.time
    most = max((seconds_of(one.limit) for one in pools), default=float("inf"))
    if run.timeout > most:
        limit = max(pools, key=lambda one: seconds_of(one.limit))
        raise HostError(
            f"`{owner}` has a timeout of {run.timeout:g} s, and Slurm ends jobs of the partition "
            f"`{limit.partition}` after {limit.limit}",
            hints=("give it less, or let `partition` name another one",),
        )
    return words_of(min(run.timeout + _MARGIN, most))


def _disk(run: Run, pools: Sequence[Pool]) -> str:
    """Return the room on the disk of its node; Slurm knows of that only where it is told."""
    counted = any(one.disk for one in pools)
    return f"{-(-run.disk // _MIB)}M" if run.disk and counted else ""


def _gres(owner: str, run: Run, *, wanted: Wanted, pools: Sequence[Pool]) -> str:
    wishes = parse_wishes(run.gpus)
    if not wishes:
        return ""
    found = gres_of(wishes, pools, names=wanted.gres)
    if not found:
        there = "; ".join(map(str, pools)) or "nothing"
        raise HostError(f"`{owner}` needs {either(wishes)}, and Slurm has {there}")
    return found
