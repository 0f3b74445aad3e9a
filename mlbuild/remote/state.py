"""State: how far a run is, as its runner tells it again and again, in JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

OVER = frozenset({"ended", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no result: nothing was run to its end."""

    kind: str  # "input" "host" "outage" "lacking"
    message: str
    hints: tuple[str, ...] = ()
    trees: tuple[tuple[str, int], ...] = ()  # that are lacking
    tools: tuple[str, ...] = ()  # likewise


@dataclass(frozen=True, slots=True)
class State:
    """How far a run is. Times are seconds since the epoch, by the runner's clock."""

    phase: str  # "queued" "running"; "ended" "failed" "cancelled" are for good
    attempt: str  # differs from start to start of one order
    owner: str = ""  # label
    key: str = ""
    host: str = ""
    pid: int = 0
    since: float = 0.0
    mlbuild: str = ""
    waits: str = ""  # for what, and who has it
    gpus: tuple[tuple[str, str, str, int, str], ...] = ()  # fields of Gpu
    resumed: bool = False  # whether an earlier attempt had left something
    beat: int = 0  # grows while the runner lives
    every: float = 5.0  # seconds between two beats
    chunks: int = 0  # objects of its log
    log: int = 0  # bytes in them
    ended: Mapping[str, Any] = field(default_factory=dict)  # fields of Execution
    tree: tuple[str, int] = ("", 0)  # of what it made
    odd: tuple[tuple[str, str, str], ...] = ()  # path, kind, target: what no tree holds
    fault: Fault | None = None

    @property
    def over(self) -> bool:
        """Say whether nothing of it goes on."""
        return self.phase in OVER


def encode(state: State) -> bytes:
    """Return the bytes of a state."""
    return json.dumps(asdict(state), separators=(",", ":")).encode()


def decode(content: bytes) -> State | None:
    """Read what `encode` wrote, by this or another version; None for anything else."""
    try:
        said: dict[str, Any] = json.loads(content)
        known = {one.name: said[one.name] for one in fields(State) if one.name in said}
        known["gpus"] = tuple(tuple(gpu) for gpu in said.get("gpus", ()))
        known["tree"] = tuple(said.get("tree", ("", 0)))
        known["odd"] = tuple(tuple(one) for one in said.get("odd", ()))
        if fault := said.get("fault"):
            trees = tuple(tuple(tree) for tree in fault["trees"])
            hints, tools = tuple(fault["hints"]), tuple(fault["tools"])
            known["fault"] = Fault(fault["kind"], fault["message"], hints, trees, tools)
        return State(**known)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
