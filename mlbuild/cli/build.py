"""`mlbuild build`: build what patterns select."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from mlbuild.assembly import Request
from mlbuild.cli.collecting import start_when_due
from mlbuild.cli.options import (
    COLOR,
    CONFIG,
    DEFINE,
    EXECUTOR,
    FOLDER,
    JSON,
    SHARING,
    Option,
    Usage,
    Words,
)
from mlbuild.cli.session import Screen, Session, open_session, terminations
from mlbuild.core.event import BuildFinished, Event, WouldRun
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation
from mlbuild.ui import Reader, open_reader
from mlbuild.ui.jsonl import Jsonl
from mlbuild.ui.summary import counts_text, json_text, result_lines, summary_line
from mlbuild.ui.text import clean
from mlbuild.unchanged import record

USAGE = Usage(
    "build",
    "PATTERN…",
    "Build the targets that the patterns select: `//models:lenet`, `//models/...`, `:all`, and "
    "`-//models:old` to leave one out. `build` itself may be left out.",
    (
        Option(("--dry-run",), "Say what would run, and why; run nothing.", dest="dry_run"),
        Option(("--rerun",), "Run the named targets even where a result is known.", dest="rerun"),
        CONFIG,
        DEFINE,
        EXECUTOR,
        Option(("-j", "--jobs"), "CPUs that actions may use together.", "N", "jobs"),
        Option(
            ("-k", "--keep-going"),
            "Go on with what does not depend on a failure.",
            dest="keep_going",
        ),
        Option(
            ("--keep-sandbox",),
            "Keep what a failed action read and wrote, for a week, and say where.",
            dest="keep_sandbox",
        ),
        *SHARING,
        JSON,
        Option(("--events",), "Write every event to FILE as a line of JSON.", "FILE", "events"),
        COLOR,
        FOLDER,
    ),
    most=None,
)


def run(words: Words, screen: Screen) -> int:
    """Build; print the results on stdout and the summary on stderr."""
    if not words.rest:
        raise InputError(
            "no target is named", hints=("`mlbuild //...` builds all targets of the workspace",)
        )
    session = open_session(words, screen)
    dry_run = words.has("dry_run")
    request = Request(
        words.rest,
        package=session.package,
        dry_run=dry_run,
        rerun=words.has("rerun"),
        keep_sandbox=words.has("keep_sandbox"),
    )
    would: list[str] = []
    with _readers(session, words.text("events"), would) as emit, terminations():
        invocation = Invocation(session.workspace, session.config, emit=emit)
        finished = invocation.build(request)
    (screen.err if words.has("json") else screen.out).lines(would)
    screen.out.lines(_results(words, session, finished))
    screen.err.lines([summary_line(finished)])
    if invocation.trace is not None and not words.has("events"):
        again = replace(
            finished,
            ran=(),
            fetched=(),
            cached=invocation.labels,
            down=0,
            up=0,
            saved=0.0,
            saved_local=invocation.worth,
            uploads_left=0,
        )
        text = "".join(f"{line}\n" for line in _results(words, session, again))
        if words.has("json"):  # all but the seconds and what follows them
            text = text.rpartition(" ")[0] + " "
        report = (text, words.has("json"), counts_text(again))
        argv, environ = sys.argv[1:], dict(screen.environ)
        record(session.workspace.root, argv, environ, invocation.trace, report)
    if not dry_run:
        start_when_due(session.config)
    return finished.exit_code


def _results(words: Words, session: Session, finished: BuildFinished) -> list[str]:
    """Return the lines for stdout."""
    if words.has("json"):
        return [json_text(finished)]
    return result_lines(finished, root=session.workspace.root, folder=session.folder)


@contextmanager
def _readers(session: Session, events: str, would: list[str]) -> Iterator[Callable[[Event], None]]:
    """Yield what passes an event to all that listen; `would` collects a dry run's lines."""
    with ExitStack() as stack:
        readers: list[Reader] = [open_reader(session.screen.err, session.screen.terminal)]
        stack.callback(readers[0].close)
        if events:
            path = os.path.join(session.folder, events)
            try:
                # Line by line: programs follow it while the build goes on.
                file = stack.enter_context(open(path, "w", buffering=1, encoding="utf-8"))
            except OSError as error:
                raise InputError(f"cannot write events to `{path}`: {error.strerror}") from error
            readers.append(Jsonl(file))

        def emit(event: Event) -> None:
            for reader in readers:
                reader(event)
            if isinstance(event, WouldRun):
                words = (clean(event.owner), clean(event.mnemonic), clean(event.reason))
                would.append(f"would run {'  '.join(words)}")

        yield emit
