"""`mlbuild jobs`: list what runs elsewhere: where, since when, on which GPU."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, open_config
from mlbuild.remote.jobs.lookout import Lookout, Sighting, as_dict, seconds_of
from mlbuild.ui.text import clean, seconds_text

THERE = Option(
    ("--executor",), "Ask this one for all jobs that you have there.", "NAME", "executor"
)
USAGE = Usage(
    "jobs",
    "",
    "List the jobs that run elsewhere, or wait there for that, or have an outcome that nobody took "
    "yet: where, since when, and on which GPU.",
    (
        THERE,
        Option(("--all",), "Also those of your other workspaces.", dest="all"),
        *(JSON, COLOR, FOLDER),
    ),
)
_HEAD = ("job", "target", "executor", "host", "state", "since", "runs as", "gpu")


def run(words: Words, screen: Screen) -> int:
    """Print the jobs on stdout, one a line; on stderr who does not answer."""
    executor = words.text("executor")
    config = open_config(words, screen)
    lookout = Lookout(config)
    if executor:
        lookout.under_way(executor)  # a name that is none of ours is an error, and not a line
    try:
        root = "" if words.has("all") or executor else screen.root
        found, silent = lookout.look(executor=executor, root=root)
    finally:
        lookout.close()
    if words.has("json"):
        report = {
            "jobs": [as_dict(one) for one in found],
            "silent": [asdict(one) for one in silent],
        }
        screen.out.lines([json.dumps(report)])
    elif found:
        screen.out.lines(_table(found))
    elif not silent:
        screen.err.lines(["nothing runs elsewhere"])
    screen.err.lines([clean(f"`{one.executor}` cannot be asked: {one.reason}") for one in silent])
    return 0


def _table(found: Sequence[Sighting]) -> list[str]:
    rows = [_HEAD, *map(_row, found)]
    used = [at for at in range(len(_HEAD)) if any(row[at] for row in rows[1:])]
    widths = {at: max(len(row[at]) for row in rows) for at in used}
    lines = []
    for row, one in zip(rows, [None, *found], strict=True):
        lines.append("  ".join(f"{row[at]:<{widths[at]}}" for at in used).rstrip())
        lines += [clean(f"  {line}") for line in _more(one)] if one else []
    return lines


def _row(one: Sighting) -> tuple[str, ...]:
    note, state = one.note, one.state
    runner = f"process {state.pid}" if state.pid else ""
    gpus = ", ".join(f"{gpu[1]} ({gpu[0]})" for gpu in state.gpus)
    phase = f"{state.phase}, resumed" if state.resumed else state.phase
    cells = (note.id[:12], note.label, note.executor, state.host or note.where, phase)
    return (*map(clean, (*cells, seconds_text(seconds_of(one)), state.job or runner, gpus)),)


def _more(one: Sighting) -> list[str]:
    """Return what else is to say of a job."""
    state = one.state
    if state.phase == "queued" and state.waits:
        return [f"waits for {state.waits}"]
    if state.fault:
        return [state.fault.message]
    again = f"`mlbuild {one.note.label} --executor {one.note.executor}`"
    if state.phase == "ended" and not one.note.key:
        return ["it repeated what was known, and whoever wanted that has gone"]
    if state.phase == "ended":
        return [f"nobody took its outcome: {again} does"]
    if state.phase == "lost":
        return [f"its runner was killed or lost: {again} tries again"]
    return []
