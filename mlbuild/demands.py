"""Demands: what actions ask of the machine that is to run them, against what it has."""

from collections.abc import Callable, Iterable, Mapping

from mlbuild.core.action import Action, Run
from mlbuild.core.gpus import either, parse_wishes
from mlbuild.errors import HostError
from mlbuild.exec.gpus import Gpus
from mlbuild.exec.room import Room


def asks(action: Action) -> bool:
    """Say whether an action asks for something that a machine may lack."""
    run = action.does
    return isinstance(run, Run) and bool(run.gpus or run.memory or run.disk or run.cpus > 1)


def unmet(
    actions: Iterable[Action], *, gpus: Gpus, room: Callable[[], Room] | None
) -> Mapping[str, HostError]:
    """Return, by its id, for each of `actions` that asks for too much what there is instead.

    `room` is None where nobody tells what a machine has besides GPUs.
    """
    found = {one.id: _unmet(one, gpus, room) for one in actions if asks(one)}
    return {id_: error for id_, error in found.items() if error is not None}


def _unmet(action: Action, gpus: Gpus, room: Callable[[], Room] | None) -> HostError | None:
    run = action.does
    assert isinstance(run, Run)
    if wishes := parse_wishes(run.gpus):
        alike = run.determinism == "bitwise"
        if lack := gpus.lack(wishes, alike=alike):
            return HostError(
                f"`{action.owner}` needs {either(wishes)}, and {lack}",
                hints=("build it where there is one: its result serves here too",),
            )
    if room is None or not (run.memory or run.disk or run.cpus > 1):
        return None
    there = room()
    if lack := there.lack(run):
        hints = ("build it where there is more: its result serves here too",)
        return HostError(f"`{action.owner}` {lack}", hints=hints)
    if shortage := there.shortage(run):
        hints = ("free some space, for instance with `mlbuild cache gc`",)
        return HostError(f"`{action.owner}` {shortage}", hints=hints)
    return None
