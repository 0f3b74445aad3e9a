"""Reached: what an outcome means, target by target."""

from collections.abc import Iterable, Mapping

from mlbuild.core.action import Json
from mlbuild.core.event import BuildFinished
from mlbuild.core.plan import Plan
from mlbuild.errors import HostError, Interrupted
from mlbuild.outcome import Outcome


def reached(plan: Plan, outcome: Outcome, *, dry_run: bool) -> BuildFinished:
    """Return what there is to say of an outcome, but for outputs, time and bytes moved."""
    labels = _statuses(plan, outcome)
    return BuildFinished(
        ran=_having(labels, "ran"),
        cached=_having(labels, "cached"),
        fetched=_having(labels, "fetched"),
        failed=_having(labels, "failed"),
        skipped=_having(labels, "skipped"),
        metrics=_metrics(plan, outcome),
        exit_code=_exit_code(outcome),
        dry_run=dry_run,
        saved=seconds_of(outcome, outcome.fetched),
        saved_local=seconds_of(outcome, outcome.results.keys() - outcome.fetched - outcome.ran),
    )


def _statuses(plan: Plan, outcome: Outcome) -> dict[str, str]:
    """Return for each target, dependencies first, what became of it."""
    labels: dict[str, str] = {}
    for label, target in plan.targets.items():
        ids = target.actions
        if any(id_ in outcome.failed for id_ in ids):
            labels[label] = "failed"
        elif any(id_ in outcome.skipped for id_ in ids) or (
            not ids and any(labels.get(dep) in {"failed", "skipped"} for dep in target.deps)
        ):
            labels[label] = "skipped"
        elif any(id_ in outcome.ran or id_ in outcome.would_run for id_ in ids):
            labels[label] = "ran"
        elif any(id_ in outcome.fetched for id_ in ids):
            labels[label] = "fetched"
        else:
            labels[label] = "cached"
    return labels


def _having(labels: Mapping[str, str], status: str) -> tuple[str, ...]:
    return tuple(label for label, found in labels.items() if found == status)


def seconds_of(outcome: Outcome, ids: Iterable[str]) -> float:
    """Return how long it took to make the results of the actions `ids`."""
    return round(sum((outcome.results[id_].seconds for id_ in ids), 0.0), 3)


def _metrics(plan: Plan, outcome: Outcome) -> dict[str, dict[str, Json]]:
    found: dict[str, dict[str, Json]] = {}
    for label, target in plan.targets.items():
        for id_ in target.actions:
            result = outcome.results.get(id_)
            if result is not None and result.metrics is not None:
                found[label] = result.metrics
    return found


def _exit_code(outcome: Outcome) -> int:
    if outcome.interrupted:
        return Interrupted.exit_code
    kinds = {failure.kind for failure in outcome.failed.values()}
    if not kinds:
        return 0
    if "host" in kinds:
        return HostError.exit_code
    return 3 if kinds == {"gate"} else 1
