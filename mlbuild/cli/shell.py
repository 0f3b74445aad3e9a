"""`mlbuild shell`: look around where the command of a target runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mlbuild.assembly import Request
from mlbuild.cli.options import COLOR, CONFIG, DEFINE, EXECUTOR, FOLDER, Option, Usage, Words
from mlbuild.cli.session import Screen, open_session, terminations
from mlbuild.core.action import Run
from mlbuild.core.event import Event
from mlbuild.core.label import parse_label
from mlbuild.errors import InputError
from mlbuild.exec.base import Streams
from mlbuild.invocation import Invocation
from mlbuild.repetition import chosen, own_actions
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "shell",
    "LABEL",
    "Open a shell in the sandbox of a target: the same inputs, variables and limits as when its "
    "command runs, after building what that reads. Nothing of it is kept.",
    (
        Option(("-c",), "Run COMMAND there instead, without a terminal.", "COMMAND", "command"),
        Option(
            ("--action",),
            "The action to look into, where the target has several, such as `gate`.",
            "NAME",
            "action",
        ),
        EXECUTOR,
        CONFIG,
        DEFINE,
        COLOR,
        FOLDER,
    ),
    most=1,
)


def run(words: Words, screen: Screen) -> int:
    """Build what the target reads, then let the user in; return the exit code of the shell."""
    if not words.rest:
        raise InputError(
            "no target is named", hints=("for example `mlbuild shell //models:lenet`",)
        )
    command = words.text("command")
    if words.has("command") and not command.strip():
        raise InputError("`-c` needs a command", hints=("for example `-c 'ls -l'`",))
    session = open_session(words, screen)
    label = str(parse_label(words.rest[0], package=session.package))
    reader = open_reader(screen.err, screen.terminal)

    def emit(event: Event) -> None:
        reader(event)

    invocation = Invocation(session.workspace, session.config, emit=emit)
    try:
        with (
            terminations(),
            invocation.repetition(Request((label,), package=session.package)) as (again, plan),
        ):
            target = plan.requested[0]
            actions = own_actions(plan, target)
            action = chosen(actions, label=target, mnemonic=words.text("action"))
            outcome = again.prepare(plan.before(action.id))
            reader.close()
            assert isinstance(action.does, Run)
            interactive = not command and _at_terminal()
            screen.err.lines(_greeting(action.owner, action.mnemonic, interactive=interactive))
            screen.err.stream.flush()
            with _streams(interactive=interactive) as streams:
                term = screen.environ.get("TERM", "") if interactive else ""
                return again.enter(action, outcome, command=command, streams=streams, term=term)
    finally:
        reader.close()


def _at_terminal() -> bool:
    """Say whether somebody sits before this process."""
    return all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))


@contextmanager
def _streams(*, interactive: bool) -> Iterator[Streams]:
    """Yield what the shell reads and writes: a terminal of its own, or what we were given."""
    if not interactive:
        yield Streams(0, 1, 2)
        return
    from mlbuild.exec.terminal import own_terminal  # noqa: PLC0415 - only with a terminal

    with own_terminal(0, 1) as streams:
        yield streams


def _greeting(label: str, mnemonic: str, *, interactive: bool) -> list[str]:
    """Return what somebody who enters should know."""
    where = f"in the sandbox of {clean(label)} ({clean(mnemonic)})"
    way_out = ", and `exit` leads out" if interactive else ""
    return [
        f'{where}: the current folder has its inputs, outputs belong in "$MLBUILD_OUT"',
        f'sh "$TMPDIR/command" runs what the target runs; nothing you do here is kept{way_out}',
    ]
