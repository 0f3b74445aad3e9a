"""`mlbuild check`: say everything that is wrong, all at once."""

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from mlbuild.check.check import Checked, check
from mlbuild.check.problem import Problem, counts
from mlbuild.check.sarif import sarif_log
from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.core.event import Warned
from mlbuild.errors import HostError, InputError
from mlbuild.ui import open_reader
from mlbuild.ui.diagnose import Place, error_lines
from mlbuild.ui.terminal import size_of, terminal_of
from mlbuild.ui.text import Paint, clean, plural, seconds_text

USAGE = Usage(
    "check",
    "[PATTERN…]",
    "Read everything that the patterns select and need, and say all that is wrong with it, at "
    "once; nothing is built or fetched. Without a pattern, it is the whole workspace. Exit code 2 "
    "if there are errors.",
    (
        Option(("--strict",), "Let warnings count as errors.", dest="strict"),
        Option(
            ("--sarif",),
            "Write the problems to FILE as SARIF 2.1.0, for code hosts; `-` is stdout.",
            "FILE",
            "sarif",
        ),
        CONFIG,
        DEFINE,
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)
EVERYTHING = "//..."
STDOUT = "-"
_COLOURS = {"error": "red bold", "warning": "yellow bold"}


def run(words: Words, screen: Screen) -> int:
    """Show the problems on stdout; return 2 if there are any that count."""
    start = time.perf_counter()
    file = words.text("sarif")
    if words.has("sarif") and not file:
        raise InputError("`--sarif` needs the name of a file", hints=("`-` is stdout",))
    if file == STDOUT and words.has("json"):
        raise InputError("`--json` and `--sarif -` cannot both write to stdout")
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)
    try:
        checked = check(
            session.workspace,
            words.rest or (EVERYTHING,),
            package=session.package,
            flags=session.config.flags,
            code=os.path.join(session.config.cache_dir, "code"),
            say=lambda text: reader(Warned(text)),
        )
    finally:
        reader.close()
    seconds = time.perf_counter() - start
    if file:
        _write_sarif(file, checked, session)
    if words.has("json"):
        screen.out.lines([json.dumps(_facts(checked, seconds), ensure_ascii=False)])
    elif file != STDOUT:
        screen.out.lines(_blocks(checked.problems, _place(session)))
    screen.err.lines([_summary(checked, seconds)])
    found = counts(checked.problems)
    counted = found["error"] + (found["warning"] if words.has("strict") else 0)
    return InputError.exit_code if counted else 0


def _place(session: Session) -> Place:
    """Return where and how problems are drawn on stdout."""
    screen = session.screen
    color = session.config.color
    terminal = terminal_of(screen.out.stream, color=color, environ=screen.environ)
    columns, _ = size_of(screen.out.stream, terminal)
    return Place(session.workspace.root, Paint(terminal.color), columns)


def _blocks(problems: Sequence[Problem], place: Place) -> list[str]:
    """Return the lines that show problems, a blank one behind each."""
    lines: list[str] = []
    for one in problems:
        error = one.error()
        _, *rest = error_lines(error, place)
        word = place.paint(_COLOURS[one.severity], f"{one.severity}[{one.kind}]")
        lines += [f"{word}: {place.paint('bold', clean(one.message))}", *rest, ""]
    return lines


def _summary(checked: Checked, seconds: float) -> str:
    """Return one line: `3 problems in 2 files · 41 packages, 410 targets · 0.4s`."""
    found = len(checked.problems)
    files = len({one.span.path for one in checked.problems if one.span is not None})
    said = f"{plural(found, 'problem')} in {plural(files, 'file')}" if found else "no problems"
    looked = f"{plural(checked.packages, 'package')}, {plural(checked.targets, 'target')}"
    return f"{said} · {looked} · {seconds_text(seconds)}"


def _facts(checked: Checked, seconds: float) -> dict[str, Any]:
    return {
        "problems": [_fact(one) for one in checked.problems],
        "packages": checked.packages,
        "targets": checked.targets,
        "seconds": round(seconds, 3),
    }


def _fact(one: Problem) -> dict[str, Any]:
    span = one.span
    return {
        "rule": one.kind,
        "severity": one.severity,
        "message": one.message,
        "path": span.path if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "length": span.length if span else None,
        "hints": one.hints,
        "notes": one.notes,
        "target": one.target or None,
    }


def _write_sarif(file: str, checked: Checked, session: Session) -> None:
    """Write the log to `file`, seen from the folder that the command is given in."""
    text = json.dumps(sarif_log(checked.problems, session.workspace.root), indent=2) + "\n"
    if file == STDOUT:
        session.screen.out.write(text)
        return
    try:
        with open(os.path.join(session.folder, file), "w", encoding="utf-8") as target:
            target.write(text)
    except OSError as error:
        raise HostError(f"cannot write `{file}`: {(error.strerror or 'error').lower()}") from error
