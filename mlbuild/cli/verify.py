"""`mlbuild verify`: repeat a target and say whether it gives the same again."""

import json
from collections.abc import Iterator
from contextlib import closing

from mlbuild.assembly import Request
from mlbuild.cli.options import (
    COLOR,
    CONFIG,
    DEFINE,
    EXECUTOR,
    FOLDER,
    JSON,
    Option,
    Usage,
    Words,
)
from mlbuild.cli.session import Screen, open_session, terminations
from mlbuild.core.event import Event, PlanReady
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation
from mlbuild.repetition import own_actions
from mlbuild.ui import open_reader
from mlbuild.ui.text import Paint, clean, plural
from mlbuild.verification import verified
from mlbuild.verify.verdict import DIFFERS, FAILED, IDENTICAL, METRIC_EQUAL, Verdict, as_json

RUNS, MOST_RUNS = 2, 100
USAGE = Usage(
    "verify",
    "PATTERN…",
    "Run the commands of targets again in fresh sandboxes, and compare what they make with the "
    "results that are kept, which stay. Says which file, array and value differs, and why that is "
    "likely so.",
    (
        Option(("--runs",), f"How often each is repeated; by default {RUNS}.", "N", "runs"),
        EXECUTOR,
        CONFIG,
        DEFINE,
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)
_COLORS = {IDENTICAL: "green", METRIC_EQUAL: "green", DIFFERS: "red bold", FAILED: "red bold"}


def run(words: Words, screen: Screen) -> int:
    """Print a verdict on each target on stdout; 1 when one of them breaks its promise."""
    if not words.rest:
        raise InputError(
            "no target is named", hints=("for example `mlbuild verify //models:lenet`",)
        )
    runs = _runs(words.text("runs") or str(RUNS))
    session = open_session(words, screen)
    found: list[Verdict] = []
    with terminations(), closing(open_reader(screen.err, screen.terminal)) as reader:

        def emit(event: Event) -> None:
            reader(event)

        invocation = Invocation(session.workspace, session.config, emit=emit)
        request = Request(words.rest, package=session.package)
        with invocation.repetition(request) as (again, plan):
            labels = [label for label in plan.requested if own_actions(plan, label)]
            if not labels:
                raise InputError(
                    f"`{plan.requested[0]}` runs no command of its own, so nothing can differ"
                    if plan.requested
                    else "the patterns select no target",
                )
            outcome = again.prepare(plan)
            number = sum(len(own_actions(plan, label)) for label in labels)
            emit(PlanReady(len(labels), number * runs))
            root = session.workspace.root
            found += [
                verified(label, plan, again, outcome, runs=runs, root=root) for label in labels
            ]
    paint = Paint(screen.terminal.color and not words.has("json"))
    if words.has("json"):
        verdicts = [as_json(one) for one in found]
        screen.out.lines([json.dumps({"targets": verdicts, "exit_code": _exit_code(found)})])
    else:
        screen.out.lines([line for one in found for line in verdict_lines(one, paint)])
    return _exit_code(found)


def _exit_code(found: list[Verdict]) -> int:
    return 0 if all(one.accepted for one in found) else 1


def _runs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_RUNS:
        raise InputError(f"`--runs` is a number from 1 to {MOST_RUNS}, not `{text}`")
    return int(text)


def verdict_lines(one: Verdict, paint: Paint) -> Iterator[str]:
    """Yield a verdict in words: a line for the target, then what differs and why."""
    head = f"{clean(one.label)}  {paint(_COLORS[one.verdict], one.verdict)}"
    yield f"{head}  {plural(one.runs, 'run')}{_promise(one)}"
    for output in one.outputs:
        if output.verdict == IDENTICAL:
            continue
        runs = ", ".join(map(str, output.runs))
        yield f"  {clean(output.path)}  {output.verdict}  in run {runs}"
        for entry in output.differences:
            below = entry.path.removeprefix(output.path).lstrip("/")
            place = ": ".join(clean(part) for part in (below, entry.where) if part)
            yield f"    {place}: {clean(entry.what)}" if place else f"    {clean(entry.what)}"
    for failure in one.failures:
        yield f"  a run failed: {clean(failure.reason)}"
    if one.alike:
        yield "  all runs here gave the same; what is kept was made elsewhere or earlier"
    for reason in one.left_out:
        yield f"  {clean(reason)}"
    for culprit in one.culprits:
        place = f"{clean(str(culprit.span))}  " if culprit.span else ""
        yield f"  {paint('green', 'hint')}: {place}{clean(culprit.message)} [{culprit.name}]"


def _promise(one: Verdict) -> str:
    """Say why a verdict that is not the best is accepted, or how it could be."""
    if one.verdict == METRIC_EQUAL and not one.accepted:
        return '  (say `determinism = "metric"` if its metrics are all that counts)'
    if one.verdict == DIFFERS and one.accepted:
        return '  (it says `determinism = "none"`)'
    return ""
