"""`mlbuild query`: show the targets that patterns select."""

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.core.event import Warned
from mlbuild.errors import InputError, did_you_mean
from mlbuild.query.render import FORMS
from mlbuild.reading import Reading
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "query",
    "PATTERN…",
    "Show the targets that the patterns select, as they are declared; nothing is built.",
    (
        Option(
            ("--output",),
            "What to show: `label`, `label_kind`, `location`, `build` (the call that declares it) "
            "or `json`.",
            "KIND",
            "output",
        ),
        CONFIG,
        DEFINE,
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)


def run(words: Words, screen: Screen) -> int:
    """Print the targets on stdout, one after the other."""
    if not words.rest:
        raise InputError(
            "no target is named", hints=("`mlbuild query //...` shows all of the workspace",)
        )
    kind = "json" if words.has("json") else words.text("output") or "label"
    form = FORMS.get(kind)
    if form is None:
        raise InputError(
            f"`--output` cannot be `{kind}`",
            hints=(*did_you_mean(kind, list(FORMS)), f"it is one of {', '.join(FORMS)}"),
        )
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)
    try:
        reading = Reading(session.workspace, session.config, say=lambda text: reader(Warned(text)))
        found = reading.targets(words.rest, session.package)
    finally:
        reader.close()
    lines = form(found)
    screen.out.lines(lines if kind == "json" else [clean(line) for line in lines])
    return 0
