"""Verdict: what repeating a target gave, output by output, and what that means for its promise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlbuild.core.action import Run
from mlbuild.core.event import Failure
from mlbuild.verify.culprits import Culprit
from mlbuild.verify.difference import Difference

IDENTICAL, METRIC_EQUAL, DIFFERS, FAILED = "identical", "metric-equal", "differs", "failed"
_ORDER = (IDENTICAL, METRIC_EQUAL, DIFFERS, FAILED)


@dataclass(frozen=True, slots=True)
class Compared:
    """One output, over all repetitions."""

    path: str  # relative to the output directory
    verdict: str
    runs: tuple[int, ...]  # numbers of the repetitions in which it differed
    differences: tuple[Difference, ...] = ()  # of the first of those


@dataclass(frozen=True, slots=True)
class Verdict:
    """What repeating a target gave."""

    label: str
    determinism: str  # what it promises: "bitwise" "metric" "none", "" where it says nothing
    verdict: str
    accepted: bool  # whether it keeps its promise
    runs: int
    outputs: tuple[Compared, ...]
    failures: tuple[Failure, ...] = ()
    culprits: tuple[Culprit, ...] = ()
    alike: bool = False  # whether all repetitions gave the same, other than what is kept
    left_out: tuple[str, ...] = ()  # actions that were not repeated, and why


def verdict_of(
    label: str,
    runs: int,
    *,
    does: Sequence[Run],
    outputs: Sequence[Compared],
    failures: Sequence[Failure],
    culprits: Sequence[Culprit],
    alike: bool,
    left_out: Sequence[str],
) -> Verdict:
    """Judge a target by its outputs.

    A target that promises its metrics may differ in all else. Where it has none, every output has
    to be equal, or to hold the same numbers.
    """
    determinism = next((run.determinism for run in does if run.determinism), "")
    metrics = {run.metrics for run in does if run.metrics}
    worst = _worst(one.verdict for one in outputs)
    if worst == DIFFERS and metrics:
        counted = _worst(one.verdict for one in outputs if one.path in metrics)
        worst = METRIC_EQUAL if counted != DIFFERS else DIFFERS
    if failures:
        worst = FAILED
    accepted = worst == IDENTICAL or (worst == METRIC_EQUAL and determinism == "metric")
    return Verdict(
        label,
        determinism,
        worst,
        accepted=not failures and (accepted or determinism == "none"),
        runs=runs,
        outputs=tuple(outputs),
        failures=tuple(failures),
        culprits=tuple(culprits) if worst != IDENTICAL else (),
        alike=alike,
        left_out=tuple(left_out),
    )


def _worst(verdicts: Iterable[str]) -> str:
    return max(verdicts, key=_ORDER.index, default=IDENTICAL)


def as_json(one: Verdict) -> Mapping[str, object]:
    """Return a verdict as `mlbuild verify --json` tells it."""
    return {
        "label": one.label,
        "determinism": one.determinism,
        "verdict": one.verdict,
        "accepted": one.accepted,
        "runs": one.runs,
        "outputs": [
            {
                "path": output.path,
                "verdict": output.verdict,
                "runs": list(output.runs),
                "differences": [_difference(entry) for entry in output.differences],
            }
            for output in one.outputs
        ],
        "failures": [{"reason": each.reason, "log": each.log} for each in one.failures],
        "culprits": [
            {
                "name": each.name,
                "message": each.message,
                "path": each.span.path if each.span else None,
                "line": each.span.line if each.span else None,
            }
            for each in one.culprits
        ],
        "alike": one.alike,
        "left_out": list(one.left_out),
    }


def _difference(one: Difference) -> Mapping[str, object]:
    return {
        "path": one.path,
        "kind": one.kind,
        "where": one.where,
        "what": one.what,
        "values": one.values,
        "total": one.total,
        "largest": one.largest,
        "relative": one.relative,
        "first": list(one.first),
    }
