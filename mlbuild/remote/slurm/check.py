"""Slurm check: each link of the chain to a node of Slurm, and whether it holds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlbuild.errors import MlbuildError
from mlbuild.remote.check import Checked
from mlbuild.remote.check import links as links_there
from mlbuild.remote.elsewhere import Elsewhere
from mlbuild.remote.slurm.pools import Pool

UP = "is UP"  # in what `scontrol ping` says of a controller that answers
# What the machine that hands in jobs has says nothing of the nodes that run them.
_ITS_OWN = frozenset({"docker", "gpu"})


def links(
    executor: Elsewhere,
    *,
    engine: Callable[[], Mapping[str, Any]],
    pools: Callable[[], Sequence[Pool]],
    partition: str,
) -> Iterator[Checked]:
    """Yield the links one by one; after one that is broken there are no others."""
    for one in links_there(executor):
        if one.name not in _ITS_OWN:
            yield one
        if one.name == "connection" and one.status == "bad":
            return
    try:
        found, nodes = engine(), pools()
    except MlbuildError as error:
        yield Checked("slurm", "bad", error.message, "; ".join(error.hints))
        return
    up = UP in found["ping"]
    yield Checked("slurm", "ok" if up else "bad", f"Slurm {found['version']}: {found['ping']}")
    yield from _nodes(nodes, partition)


def _nodes(pools: Sequence[Pool], partition: str) -> Iterator[Checked]:
    """Yield what is to be said of the nodes that jobs may get."""
    if not pools:
        name = f"partition `{partition}`" if partition else "partition"
        yield Checked("partition", "bad", f"there is no {name}", "`sinfo` shows those that are")
        return
    down = [one.partition for one in pools if not one.up]
    text = "; ".join(map(str, pools))
    if down:
        yield Checked("partition", "bad", f"`{down[0]}` takes no jobs now: {text}")
    else:
        yield Checked("partition", "ok", text)
    cards = sum(one.nodes * count for one in pools for _, count in one.gpus)
    if cards:
        yield Checked("gpu", "ok", f"{cards} GPUs as generic resources")
    else:
        yield Checked("gpu", "note", "its nodes offer no GPUs (`sinfo -o %G`)")
