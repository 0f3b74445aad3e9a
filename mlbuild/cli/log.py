"""`mlbuild log`: print the newest log of a target."""

import json

from mlbuild.cli.following import follow, print_file
from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.core.label import parse_label
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation
from mlbuild.remote.jobs.lookout import Lookout, Sighting, chosen
from mlbuild.store.holders import running_logs
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "log",
    "LABEL",
    "Print what the newest run of a target wrote, without colours and control characters.",
    (
        Option(
            ("-f", "--follow"), "Go on while it runs, here or elsewhere, until it ends.", dest="go"
        ),
        *(CONFIG, DEFINE, JSON, COLOR, FOLDER),
    ),
    most=1,
)


def run(words: Words, screen: Screen) -> int:
    """Print the log on stdout; with `--json` where it lies."""
    if not words.rest:
        raise InputError("no target is named", hints=("for example `mlbuild log //models:lenet`",))
    session = open_session(words, screen)
    running, last = _logs(words.rest[0], session)
    path = running or last
    if words.has("go") and not running:
        lookout = Lookout(session.config)
        try:
            seen = _elsewhere(words.rest[0], session, lookout)
            if seen is not None:
                return follow(seen, lookout, screen, tail=None)
        finally:
            lookout.close()
    if path is None:
        raise InputError(
            f"`{clean(words.rest[0])}` has no log: it has not run here",
            hints=("`mlbuild --rerun` runs a target whose result is known already",),
        )
    if words.has("json"):
        screen.out.lines([json.dumps({"log": path})])
        return 0
    follows = words.has("go") and running is not None
    root = session.config.cache_dir
    print_file(path, screen, goes_on=lambda: follows and path in running_logs(root))
    return 0


def _logs(word: str, session: Session) -> tuple[str | None, str | None]:
    """Return the log that a target writes now, and its newest one of those that are complete."""
    reader = open_reader(session.screen.err, session.screen.terminal)
    try:
        invocation = Invocation(session.workspace, session.config, emit=reader)
        running = invocation.running_log(word, session.package)
        return running, invocation.last_log(word, session.package)
    finally:
        reader.close()


def _elsewhere(word: str, session: Session, lookout: Lookout) -> Sighting | None:
    """Return the newest job of a target that was started elsewhere from this workspace."""
    label = str(parse_label(word, package=session.package))
    found, _ = lookout.look(root=session.workspace.root)
    ours = chosen(label, found, package=session.package)
    return max(ours, key=lambda one: (one.is_alive, one.since), default=None)
