"""Outage: trouble of the infrastructure, which says nothing of the action and may pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlbuild.errors import HostError
from mlbuild.shared.base import SharedTrouble

PASSING = frozenset({"unreachable", "slow", "full"})


class Outage(HostError):  # noqa: N818 - what happened, not a kind of error
    """A machine or the way to it failed: the same may succeed when it is tried again."""


class Cut(Outage):
    """The way to the other machine is gone; what runs there may go on."""


@contextmanager
def bucket_troubles(where: str) -> Iterator[None]:
    """Turn trouble with the bucket of the machine `where` into what a user is told."""
    try:
        yield
    except SharedTrouble as trouble:
        kind = Outage if trouble.kind in PASSING else HostError
        if trouble.kind == "full":
            raise full_disk(where) from trouble
        hints = (trouble.cure,) if trouble.cure else ()
        raise kind(f"`{where}`: {trouble.message}", hints=hints) from trouble


def full_disk(where: str) -> Outage:
    """Return what to say of a machine whose store has no room."""
    return Outage(
        f"the disk of `{where}` is full",
        hints=(f"free some space there, for instance with `mlbuild cache gc` on `{where}`",),
    )
