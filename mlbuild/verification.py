"""Verification: a target is repeated, and what that gave is held against what is kept."""

import os
from collections.abc import Iterator

from mlbuild.core.action import Action, Run
from mlbuild.core.event import Failure
from mlbuild.core.plan import Plan
from mlbuild.core.result import Result
from mlbuild.outcome import Outcome
from mlbuild.repetition import Repeated, Repetition, own_actions
from mlbuild.verify import culprits
from mlbuild.verify.compare import differences
from mlbuild.verify.culprits import Culprit
from mlbuild.verify.difference import Difference
from mlbuild.verify.verdict import DIFFERS, IDENTICAL, METRIC_EQUAL, Compared, Verdict, verdict_of

_LARGEST_SCRIPT = 4 << 20  # bytes
_MOST_CULPRITS = 10


def verified(
    label: str, plan: Plan, again: Repetition, outcome: Outcome, *, runs: int, root: str
) -> Verdict:
    """Repeat the commands of a target `runs` times; judge what they gave.

    `outcome` has the kept results; `root` is the folder of the workspace.
    """
    outputs: list[Compared] = []
    failures: list[Failure] = []
    does: list[Run] = []
    left_out: list[str] = []
    found: list[Culprit] = []
    alike: list[bool] = []
    for action in own_actions(plan, label):
        run = action.does
        assert isinstance(run, Run)
        if run.each:
            left_out.append(f"{action.mnemonic} was not repeated: each of its parts has a hash")
            continue
        does.append(run)
        repeated = [
            again.repeat(action, outcome, number=number, runs=runs) for number in range(1, runs + 1)
        ]
        failures += [one.failure for one in repeated if one.failure is not None]
        compared = [_compared(output.path, run, repeated, again) for output in action.outputs]
        outputs += compared
        alike.append(_alike(repeated))
        if any(one.verdict != IDENTICAL for one in compared):
            found += _culprits(action, run, compared, root)
    return verdict_of(
        label,
        runs,
        does=does,
        outputs=outputs,
        failures=failures,
        culprits=list(dict.fromkeys(found))[:_MOST_CULPRITS],
        alike=bool(alike) and all(alike),
        left_out=left_out,
    )


def _compared(path: str, run: Run, repeated: list[Repeated], again: Repetition) -> Compared:
    """Compare one output of all repetitions with the kept one."""
    differing: list[int] = []
    found: list[Difference] = []
    verdict = IDENTICAL
    for number, one in enumerate(repeated, 1):
        if one.result is None or _content(one.result, path) == _content(one.kept, path):
            continue
        differing.append(number)
        if verdict == DIFFERS:
            continue
        kept, fresh = again.place(one.kept, path), again.place(one.result, path)
        places = differences(kept, fresh, path=path, tolerance=run.tolerance)
        verdict = DIFFERS if places or not path.endswith(".json") else METRIC_EQUAL
        found = places or found
    return Compared(path, verdict, tuple(differing), tuple(found))


def _content(result: Result, path: str) -> object:
    return dict(result.outputs).get(path)


def _alike(repeated: list[Repeated]) -> bool:
    """Say whether all repetitions gave the same, and something else than what is kept."""
    trees = {one.result.tree for one in repeated if one.result is not None}
    whole = len(repeated) > 1 and all(one.result is not None for one in repeated)
    return whole and len(trees) == 1 and trees != {repeated[0].kept.tree}


def _culprits(action: Action, run: Run, compared: list[Compared], root: str) -> Iterator[Culprit]:
    """Yield why an action may give something else each time."""
    yield from culprits.in_differences([entry for one in compared for entry in one.differences])
    for path in action.inputs:
        if path.endswith(".py") and not path.startswith("@"):
            yield from culprits.in_script(
                path, _text(f"{root}/{path}"), seeded=run.seed is not None
            )


def _text(path: str) -> str:
    """Return the text of a script, "" where it cannot be had."""
    try:
        if os.path.getsize(path) > _LARGEST_SCRIPT:
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
