"""Outcome: what a schedule is asked for, what it has reached, and where an action can stand."""

from dataclasses import dataclass, field
from enum import Enum

from mlbuild.core.event import Failure
from mlbuild.core.result import Content, Result


class State(Enum):
    """Where an action stands."""

    WAITING = "waiting for inputs"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


LEGAL = {
    State.WAITING: {State.READY, State.SKIPPED},
    State.READY: {State.RUNNING, State.DONE, State.FAILED, State.SKIPPED, State.WAITING},
    State.RUNNING: {State.DONE, State.FAILED, State.WAITING, State.SKIPPED},
    State.DONE: {State.READY, State.WAITING},  # its bytes were lost: once more
    State.FAILED: set(),
    State.SKIPPED: set(),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user decides about a schedule."""

    jobs: int
    keep_going: bool = False
    dry_run: bool = False
    rerun: frozenset[str] = frozenset()  # owners whose actions run even where a result is known
    wanted: frozenset[str] = frozenset()  # artifact paths that will be delivered
    platform: str = ""
    salt: str = ""
    memory: int = 0  # bytes that actions may ask for together
    gpus: int = 0  # of this host, where an action asks for some


@dataclass(slots=True)
class Outcome:
    """What an invocation reached, by action id."""

    results: dict[str, Result] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)  # whose results the shared cache had
    failed: dict[str, Failure] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    would_run: set[str] = field(default_factory=set)
    contents: dict[str, Content] = field(default_factory=dict)  # by artifact path
    noted: set[str] = field(default_factory=set)  # ran, but their result is not the kept one
    interrupted: bool = False
    logs: dict[str, str] = field(default_factory=dict)  # of those that ran, failed ones included
