"""State: how far a run is, as its runner tells it again and again, in JSON."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mlbuild.remote.link.shapes import like

OVER = frozenset({"ended", "failed", "cancelled"})
PHASES = OVER | {"queued", "running"}
_CODES = 255  # the largest exit code
_LONGEST, _MOST = 4000, 8  # letters of a message, and hints, that anybody reads
_ENDED: Mapping[str, Any] = {  # fields of Execution beside its exit code, which may be None
    "signal": 0,
    "timed_out": False,
    "out_of_memory": False,
    "interrupted": False,
    "seconds": 0.0,
    "cpu_seconds": 0.0,
    "peak_memory": 0,
}
ENDED = ("exit_code", *_ENDED)  # fields of Execution that a state tells


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
    job: str = ""  # what an engine that schedules calls it: "slurm 4711"
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
    """Read what `encode` wrote, by this or another version; None for anything else.

    Whoever writes here is not trusted: each value has the type and the range that it must have.
    """
    try:
        said: dict[str, Any] = json.loads(content)
        plain = {
            one.name: like(said[one.name], one.default)
            for one in fields(State)
            if one.name in said and isinstance(one.default, str | int | float)
        }
        return State(
            phase=_one_of(said["phase"], PHASES),
            attempt=like(said["attempt"], ""),
            **plain,
            gpus=like(said.get("gpus", ()), [("", "", "", 0, "")]),
            ended=_ended(said.get("ended", {}), said["phase"]),
            tree=like(said.get("tree", ("", 0)), ("", 0)),
            odd=tuple(_odd(one) for one in said.get("odd", ())),
            fault=_fault(said["fault"]) if said.get("fault") else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _one_of(found: Any, known: Collection[str]) -> str:
    if found not in known:
        raise ValueError
    return str(found)


def _odd(found: Any) -> tuple[str, str, str]:
    """Return what no tree holds; its names may be of any bytes."""
    path, kind, target = found
    if not (isinstance(path, str) and isinstance(target, str)):
        raise TypeError
    os.fsencode(path + target)
    return path, _one_of(kind, ("link", "other")), target


def _ended(found: Any, phase: str) -> Mapping[str, Any]:
    """Return how a command ended."""
    if not found and phase != "ended":
        return {}
    code = found.get("exit_code")
    known = {name: like(found[name], example) for name, example in _ENDED.items() if name in found}
    if code is not None and like(code, 0) > _CODES:
        raise ValueError
    if phase == "ended" and code is None and not known.get("signal"):
        raise ValueError
    return {**known, "exit_code": code}


def _fault(found: Any) -> Fault:
    return Fault(
        like(found["kind"], ""),
        like(found["message"], "")[:_LONGEST],
        like(found["hints"], [""])[:_MOST],
        like(found["trees"], [("", 0)]),
        like(found["tools"], [""]),
    )
