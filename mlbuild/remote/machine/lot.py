"""Lot: what an engine that schedules has given to one run, so that its machine lends nothing."""

from dataclasses import dataclass

from mlbuild.exec.base import Gpu


@dataclass(frozen=True, slots=True)
class Lot:
    """What an engine has given to one run: its CPUs are counted there, its GPUs nobody else has."""

    job: str  # what the engine calls it: "slurm 4711"
    gpus: tuple[Gpu, ...] = ()
