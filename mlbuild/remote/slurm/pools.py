"""Pools: what Slurm has, as `sinfo` tells: partitions, and nodes in them that are alike."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlbuild.core.gpus import GpuWish
from mlbuild.exec.base import Gpu

FORMAT = "%R|%a|%D|%c|%m|%d|%l|%G|%P"
_GPU = re.compile(r"gpu(?::([A-Za-z_][\w.+-]*))?:(\d+)")
_INSIDE = re.compile(r"\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one partition that are alike."""

    partition: str
    default: bool  # whether jobs that name no partition go there
    up: bool
    nodes: int
    cpus: int  # of each
    memory: int  # MiB of each
    disk: int  # MiB of each, 0 where Slurm counts none
    limit: str  # on the time of a job, as Slurm writes it
    gpus: tuple[tuple[str, int], ...]  # type, "" for any, and number on each

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        cards = "".join(
            f", {count} {type_} GPU{'s' * (count > 1)}".replace("  ", " ")
            for type_, count in self.gpus
        )
        return f"{self.partition}: {nodes} of {self.cpus} CPUs, {self.memory} MiB{cards}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as JSON has them."""
        return asdict(self)


def pool_from(said: Mapping[str, Any]) -> Pool:
    """Read what `as_dict` gave, and JSON carried."""
    return Pool(**{**said, "gpus": tuple((str(type_), int(n)) for type_, n in said["gpus"])})


def pools_in(text: str) -> tuple[Pool, ...]:
    """Read what `sinfo` prints in `FORMAT`."""
    found = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != FORMAT.count("|") + 1:
            continue
        name, state, nodes, cpus, memory, disk, limit, gres, marked = fields
        found.append(
            Pool(
                name,
                default=marked.endswith("*"),
                up=state == "up",
                nodes=_number(nodes),
                cpus=_number(cpus),
                memory=_number(memory),
                disk=_number(disk),
                limit=limit,
                gpus=_cards(gres),
            )
        )
    return tuple(found)


def _cards(gres: str) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for one in _INSIDE.sub("", gres).split(","):
        if card := _GPU.fullmatch(one):
            type_ = card[1] or ""
            found[type_] = found.get(type_, 0) + int(card[2])
    return tuple(found.items())


def _number(text: str) -> int:
    """Read `8000`, or `8000+` where nodes differ."""
    digits = text.rstrip("+")
    return int(digits) if digits.isdigit() else 0


def meant(pools: Sequence[Pool], partition: str) -> tuple[Pool, ...]:
    """Return those that a job for `partition` may get; several are named with commas."""
    if not partition:
        return tuple(one for one in pools if one.default) or tuple(pools)
    return tuple(one for one in pools if one.partition in partition.split(","))


def gres_of(wishes: Sequence[GpuWish], pools: Sequence[Pool], *, names: Mapping[str, str]) -> str:
    """Return the gres that Slurm is asked for, "" where no node has one of `wishes`.

    `names` says what Slurm calls a model; else its own types are matched like names of GPUs.
    """
    for wish in wishes:
        for pool in pools:
            for type_, count in pool.gpus:
                if count >= wish.count and _fits(wish, type_, names):
                    named = names.get(wish.model, "") or _gres(type_ if wish.model else "")
                    return f"{named}:{wish.count}"
    return ""


def _fits(wish: GpuWish, type_: str, names: Mapping[str, str]) -> bool:
    if wish.model in names:
        return names[wish.model] in {"gpu", _gres(type_)}
    return not wish.model or wish.fits(type_)


def _gres(type_: str) -> str:
    return f"gpu:{type_}" if type_ else "gpu"


def gpus_in(pools: Sequence[Pool], *, names: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that one job may get: of each type as many as a node has."""
    most: dict[str, int] = {}
    for pool in pools:
        for type_, count in pool.gpus:
            most[type_] = max(count, most.get(type_, 0))
    models = {gres: model for model, gres in reversed(list(names.items()))}
    return tuple(
        Gpu(f"{_gres(type_)}#{number}", models.get(_gres(type_), type_ or "GPU"))
        for type_, count in most.items()
        for number in range(count)
    )
