"""`mlbuild watch`: build, and build again whenever a file changes."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mlbuild.assembly import Request
from mlbuild.cli.build import USAGE as BUILD
from mlbuild.cli.options import Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session, terminations
from mlbuild.config import Config, load
from mlbuild.core.event import BuildFinished, Event
from mlbuild.errors import InputError, MlbuildError
from mlbuild.ui import open_reader
from mlbuild.ui.diagnose import error_lines, hint_lines
from mlbuild.ui.jsonl import Jsonl
from mlbuild.ui.summary import json_text, result_lines, summary_line
from mlbuild.ui.text import Paint, clean, plural
from mlbuild.watch.looks import Change
from mlbuild.watch.loop import Watch
from mlbuild.watch.notifier import Notifier

ELSEWHERE = frozenset({"dry_run", "rerun", "json"})  # options of `build` that are no use here
USAGE = Usage(
    "watch",
    "PATTERN…",
    "Build the targets that the patterns select, and build again whenever something changes "
    "that they are made from: sources, BUILD.ml and .bzl files, settings, new files that a glob "
    "matches. Ctrl-C ends it.",
    (
        Option(
            ("--notify",),
            "Run a shell command after each build; it finds `passed` or `failed` in "
            "MLBUILD_WATCH_STATUS.",
            "CMD",
            "notify",
        ),
        Option(("--once",), "End after the first change that was built.", dest="once"),
        Option(
            ("--poll",),
            "Look at the files every second instead of being told by the kernel.",
            dest="poll",
        ),
        *(option for option in BUILD.options if option.dest not in ELSEWHERE),
        Option(("--json",), "Print a line of JSON on stdout for each build.", dest="json"),
    ),
    most=None,
)
FEW = 3  # changes that are named


def run(words: Words, screen: Screen) -> int:
    """Build until Ctrl-C; the results of each build go to stdout."""
    if not words.rest:
        raise InputError("no target is named", hints=("`mlbuild watch //...` watches all targets",))
    session = open_session(words, screen)
    request = Request(words.rest, package=session.package, keep_sandbox=words.has("keep_sandbox"))

    def settings() -> Config:
        """Read them anew: without the current folder, which may be gone by now."""
        was = session.config
        config = load(
            session.workspace.root, environ=screen.environ, flags=was.words, defines=was.defines
        )
        screen.choose(config.color)
        return config

    with terminations(), _shown(words, session) as shown:
        watch = Watch(
            session.workspace,
            request,
            settings=settings,
            environ=screen.environ,
            face=shown,
            poll=words.has("poll"),
        )
        return watch.run(once=words.has("once"))


@contextmanager
def _shown(words: Words, session: Session) -> Iterator["Shown"]:
    """Yield what shows the builds."""
    with ExitStack() as stack:
        log: Jsonl | None = None
        if events := words.text("events"):
            path = os.path.join(session.folder, events)
            try:
                file = stack.enter_context(open(path, "w", buffering=1, encoding="utf-8"))
            except OSError as error:
                raise InputError(f"cannot write events to `{path}`: {error.strerror}") from error
            log = Jsonl(file)
        shown = Shown(session, log=log, as_json=words.has("json"), command=words.text("notify"))
        stack.callback(shown.close)
        yield shown


class Shown:
    """What a watch does, on the two streams of this process."""

    def __init__(self, session: Session, *, log: Jsonl | None, as_json: bool, command: str) -> None:
        self._session = session
        self._screen = session.screen
        self._log = log
        self._json = as_json
        self._changed: list[dict[str, str]] = []  # why the last build began
        self._begun = False
        self._notifier: Notifier | None = None
        if command:
            self._notifier = Notifier(
                command,
                environ=session.screen.environ,
                folder=session.folder,
                warn=lambda text: self.warn(text, ()),
            )

    @contextmanager
    def building(self, changed: Sequence[Change]) -> Iterator[Callable[[Event], None]]:
        """Name what changed; yield what passes an event of the build to all that listen."""
        root = self._session.workspace.root.rstrip("/") + "/"
        self._changed = [{"path": one.path.removeprefix(root), "how": one.how} for one in changed]
        if self._begun:
            self._screen.err.lines([self._paint("bold", _few(self._changed))])
        self._begun = True
        with self.looking() as reader:

            def emit(event: Event) -> None:
                reader(event)
                if self._log is not None:
                    self._log(event)

            yield emit

    @contextmanager
    def looking(self) -> Iterator[Callable[[Event], None]]:
        """Yield what shows events on the screen."""
        reader = open_reader(self._screen.err, self._screen.terminal)
        try:
            yield reader
        finally:
            reader.close()

    def built(self, finished: BuildFinished) -> None:
        """Print results and summary."""
        status = "failed" if finished.exit_code else "passed"
        if self._json:
            self._report(status, finished.exit_code, json.loads(json_text(finished)))
        else:
            root, folder = self._session.workspace.root, self._session.folder
            self._screen.out.lines(result_lines(finished, root=root, folder=folder))
        self._screen.err.lines([summary_line(finished)])
        self._notify(status, labels=(*finished.ran, *finished.failed), failed=finished.failed)

    def failed(self, error: MlbuildError) -> None:
        """Draw the error."""
        if self._json:
            place = str(error.span) if error.span else None
            self._report("failed", error.exit_code, {"error": error.message, "place": place})
        self._screen.err.lines(error_lines(error, self._screen.place))
        self._notify("failed", labels=(), failed=())

    def waiting(self, folders: int) -> None:
        """Print that nothing is to be done."""
        text = f"watching {plural(folders, 'folder')} · waiting for changes"
        self._screen.err.lines([self._paint("dim", text)])

    def warn(self, message: str, hints: tuple[str, ...]) -> None:
        """Print a warning."""
        first = f"{self._paint('yellow', 'warning')}: {clean(message)}"
        self._screen.err.lines([first, *hint_lines(hints, self._paint)])

    def close(self) -> None:
        """Wait for the last notification."""
        if self._notifier is not None:
            self._notifier.close()

    @property
    def _paint(self) -> Paint:
        return Paint(self._screen.terminal.color)

    def _report(self, status: str, code: int, found: dict[str, Any]) -> None:
        """Print one line of JSON for one build."""
        head = {"status": status, "exit_code": code, "changed": self._changed}
        self._screen.out.lines([json.dumps(head | found)])

    def _notify(self, status: str, *, labels: Sequence[str], failed: Sequence[str]) -> None:
        if self._notifier is not None:
            self._notifier.tell(status, labels=labels, failed=failed)


def _few(changed: Sequence[dict[str, str]]) -> str:
    """Return the first changes in words, and how many there are beyond."""
    words = [
        clean(f"{one['path']} {one['how'] if one['how'] == 'changed' else 'is ' + one['how']}")
        for one in changed[:FEW]
    ]
    more = len(changed) - FEW
    return ", ".join([*words, *([f"and {more:,} more"] if more > 0 else [])]) or "files changed"
