"""Lines: actions whose inputs are here, waiting for their turn to run.

Who waits for a GPU keeps nobody waiting who needs none; else nobody overtakes, or whoever needs
much would wait for ever.
"""

import heapq
from collections.abc import Mapping

from mlbuild.core.action import Action, Run
from mlbuild.core.gpus import parse_wishes
from mlbuild.slots import Slots


class Lines:
    """Waiting actions, in the order of the plan, and the slots that running ones hold."""

    def __init__(self, actions: Mapping[str, Action], slots: Slots) -> None:
        self._actions = actions
        self._position = {id_: index for index, id_ in enumerate(actions)}
        self._slots = slots
        self._others: list[tuple[int, str]] = []
        self._on_gpus: list[tuple[int, str]] = []
        self._waiting: set[str] = set()

    def join(self, id_: str) -> None:
        """Let an action wait for its turn."""
        line = self._on_gpus if _gpus(self._actions[id_]) else self._others
        heapq.heappush(line, (self._position[id_], id_))
        self._waiting.add(id_)

    def leave(self, id_: str) -> None:
        """Let an action wait no more."""
        self._waiting.discard(id_)

    def next(self) -> str | None:
        """Return the action whose turn it is, with its slots taken; None while there is none."""
        while line := self._first():
            _, id_ = line[0]
            if id_ in self._waiting and not self.has_turn(id_):
                return None
            heapq.heappop(line)
            if id_ in self._waiting:
                self._waiting.discard(id_)
                return id_
        return None

    def _first(self) -> list[tuple[int, str]]:
        """Return the line whose first is next."""
        others, first = self._others, self._on_gpus
        if not first or not self._slots.has_gpus(_gpus(self._actions[first[0][1]])):
            return others
        return first if not others or first[0] < others[0] else others

    def has_turn(self, id_: str) -> bool:
        """Take what the command of an action needs, if it is free."""
        does = self._actions[id_].does
        if not isinstance(does, Run):
            return True
        gpus = _gpus(self._actions[id_])
        return self._slots.take(id_, cpus=does.cpus, memory=does.memory, gpus=gpus)


def _gpus(action: Action) -> int:
    """Return how many GPUs an action asks for at least."""
    wishes = parse_wishes(action.does.gpus) if isinstance(action.does, Run) else ()
    return min((wish.count for wish in wishes), default=0)
