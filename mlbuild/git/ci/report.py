"""Report: what a job has to say, as plain values; others write it down."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlbuild.core.action import Json

Status = Literal["ran", "cached", "missed", "failed", "skipped"]
FINE: tuple[Status, ...] = ("ran", "cached")


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on a metric, and how it went."""

    metric: str  # "" where the target does not say which
    bound: str  # ">= 0.95"
    value: float | None
    passed: bool

    @property
    def name(self) -> str:
        """The gate as its author wrote it."""
        return f"{self.metric} {self.bound}".strip() or "gate"


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of a target, here and in the base."""

    metric: str  # dotted where it is nested
    now: float | None  # None: it is no longer measured
    base: float | None  # None: not known

    @property
    def change(self) -> float | None:
        """By how much it grew, None where one of the two is not known."""
        return None if self.now is None or self.base is None else self.now - self.base


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a target failed."""

    reason: str
    tail: tuple[str, ...] = ()  # the last lines of its log
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """One target of the job."""

    label: str
    status: Status
    rule: str = ""
    why: str = ""  # why it is affected
    new: bool = False  # whether the base has no such target
    seconds: float = 0.0  # that its commands took now
    gates: tuple[Gate, ...] = ()
    metrics: tuple[Measured, ...] = ()
    based: bool = False  # whether what it measured in the base is known
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a job did."""

    workspace: str
    base: str = ""  # what the user calls it; "" where all targets count
    base_commit: str = ""
    head_commit: str = ""
    targets: tuple[Target, ...] = ()
    deleted: tuple[str, ...] = ()
    hits: int = 0  # actions whose results were known
    runs: int = 0  # actions that ran, failed ones included
    saved: float = 0.0  # seconds that known results once took
    seconds: float = 0.0
    exit_code: int = 0
    fork: bool = False
    url: str = ""
    warnings: tuple[str, ...] = ()
    fault: str = ""  # why nothing could be built

    @property
    def hit_rate(self) -> float | None:
        """The share of actions whose results were known; None where there was none."""
        return self.hits / (self.hits + self.runs) if self.hits + self.runs else None

    def having(self, *statuses: Status) -> list[Target]:
        """Return the targets that ended so."""
        return [one for one in self.targets if one.status in statuses]

    @property
    def gates(self) -> list[tuple[Target, Gate]]:
        """All gates, those that were missed first."""
        found = [(target, gate) for target in self.targets for gate in target.gates]
        return sorted(found, key=lambda pair: pair[1].passed)


def numbers(metrics: Mapping[str, Json] | None, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number with its dotted name."""
    for name, value in (metrics or {}).items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def compared(
    now: Mapping[str, Json] | None, base: Mapping[str, Json] | None
) -> tuple[Measured, ...]:
    """Return each number of two sets of metrics beside the other's; nested ones come last."""
    here, there = dict(numbers(now)), dict(numbers(base))
    names = sorted({**here, **there}, key=lambda name: (name.count("."), name))
    return tuple(Measured(name, here.get(name), there.get(name)) for name in names)


def as_json(report: Report) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    return {
        "workspace": report.workspace,
        "base": {"revision": report.base, "commit": report.base_commit},
        "head": report.head_commit,
        "targets": [_target(one) for one in report.targets],
        "deleted": report.deleted,
        "cache": {"hits": report.hits, "runs": report.runs, "rate": report.hit_rate},
        "saved": round(report.saved, 3),
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
        "fork": report.fork,
        "warnings": report.warnings,
    }


def _target(one: Target) -> dict[str, Any]:
    return {
        "label": one.label,
        "rule": one.rule,
        "status": one.status,
        "why": one.why,
        "new": one.new,
        "seconds": round(one.seconds, 3),
        "gates": [
            {"metric": gate.metric, "bound": gate.bound, "value": gate.value, "passed": gate.passed}
            for gate in one.gates
        ],
        "metrics": {
            item.metric: {"now": item.now, "base": item.base, "change": item.change}
            for item in one.metrics
        },
        "failed": one.failed.reason if one.failed else None,
    }
