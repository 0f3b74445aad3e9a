"""`mlbuild log`: print the newest log of a target."""

import json

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean, clean_log

USAGE = Usage(
    "log",
    "LABEL",
    "Print what the newest run of a target wrote, without colours and control characters.",
    (CONFIG, DEFINE, JSON, COLOR, FOLDER),
    most=1,
)


def run(words: Words, screen: Screen) -> int:
    """Print the log on stdout; with `--json` where it lies."""
    if not words.rest:
        raise InputError("no target is named", hints=("for example `mlbuild log //models:lenet`",))
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)
    try:
        invocation = Invocation(session.workspace, session.config, emit=reader)
        path = invocation.last_log(words.rest[0], session.package)
    finally:
        reader.close()
    if path is None:
        raise InputError(
            f"`{clean(words.rest[0])}` has no log: it has not run here",
            hints=("`mlbuild --rerun` runs a target whose result is known already",),
        )
    if words.has("json"):
        screen.out.lines([json.dumps({"log": path})])
        return 0
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        while lines := file.readlines(1 << 16):
            screen.out.lines([clean_log(line.removesuffix("\n")) for line in lines])
    return 0
