"""`mlbuild ci`: build what a change affects, hold it against its gates, and report."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from mlbuild.cli.session import Screen, Session, open_session, terminations
from mlbuild.config import load
from mlbuild.core.event import BuildFinished, Event
from mlbuild.errors import InputError, MlbuildError
from mlbuild.git.ci.forge import Forge, forge_of
from mlbuild.git.ci.job import Job
from mlbuild.git.ci.junit import junit
from mlbuild.git.ci.markdown import comment, headline, summary
from mlbuild.git.ci.openmetrics import openmetrics
from mlbuild.git.ci.report import Report, as_json
from mlbuild.ui import open_reader
from mlbuild.ui.summary import result_lines, summary_line
from mlbuild.ui.text import clean

USAGE = Usage(
    "ci",
    "[PATTERN…]",
    "Build the targets that differ since the merge base with the target branch, go on after "
    "failures, and report. The base is what GitHub or GitLab says of the job, else `origin/HEAD`.",
    (
        Option(
            ("--base",),
            "Compare with the commit where REV and `HEAD` part.",
            "REV",
            "base",
        ),
        Option(
            ("--summary",),
            "Add the report to FILE as Markdown; by default to `$GITHUB_STEP_SUMMARY`.",
            "FILE",
            "summary",
        ),
        Option(
            ("--report",),
            "Write the report to FILE as Markdown that fits into a comment.",
            "FILE",
            "report",
        ),
        Option(("--junit",), "Write a JUnit XML report to FILE.", "FILE", "junit"),
        Option(
            ("--metrics",),
            "Write what was measured to FILE as OpenMetrics text.",
            "FILE",
            "metrics",
        ),
        CONFIG,
        DEFINE,
        EXECUTOR,
        Option(("-j", "--jobs"), "CPUs that actions may use together.", "N", "jobs"),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)
WRITERS: dict[str, Callable[[Report], str]] = {
    "report": comment,
    "junit": junit,
    "metrics": openmetrics,
}


def run(words: Words, screen: Screen) -> int:
    """Build and report; the exit code is that of the build."""
    session = open_session(words, screen)
    forge = forge_of(session.config.environ)
    config = session.config
    if forge.variables:
        environ = {**config.environ, **forge.variables}
        root = session.workspace.root
        config = load(root, environ=environ, flags=config.words, defines=config.defines)
    try:
        with _reader(session) as emit, terminations():
            job = Job(session.workspace, config, forge, emit)
            report, finished = job.run(words.rest, package=session.package, base=words.text("base"))
    except MlbuildError as error:
        place = f"{error.span}: " if error.span is not None else ""
        fault = "\n".join((f"{place}{error.message}", *error.hints))
        exit_code = error.exit_code
        _write(Report(config.name, exit_code=exit_code, fault=fault), words, forge, session)
        raise
    _write(report, words, forge, session)
    _show(report, finished, words, session)
    return report.exit_code


def _show(report: Report, finished: BuildFinished | None, words: Words, session: Session) -> None:
    """Print the results on stdout and what came of the job on stderr."""
    screen = session.screen
    if words.has("json"):
        screen.out.lines([json.dumps(as_json(report))])
    elif finished is not None:
        root, folder = session.workspace.root, session.folder
        screen.out.lines(result_lines(finished, root=root, folder=folder))
    if finished is not None:
        screen.err.lines([summary_line(finished)])
    since = f" since {report.base}" if report.base else ""
    screen.err.lines([clean(f"{headline(report)}{since}")])


def _write(report: Report, words: Words, forge: Forge, session: Session) -> None:
    """Write the files that were asked for, and what the forge shows beside the job."""
    for name, writer in WRITERS.items():
        if words.has(name):
            _keep(words.text(name), writer(report), session, mode="w")
    place = words.text("summary") or forge.summary
    if place:
        _keep(place, f"{summary(report)}\n", session, mode="a")


def _keep(path: str, text: str, session: Session, *, mode: str) -> None:
    place = os.path.join(session.folder, path)
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, mode, encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"cannot write `{path}`: {error.strerror}") from error


@contextmanager
def _reader(session: Session) -> Iterator[Callable[[Event], None]]:
    """Yield what shows events as they happen."""
    reader = open_reader(session.screen.err, session.screen.terminal)
    try:
        yield reader
    finally:
        reader.close()
