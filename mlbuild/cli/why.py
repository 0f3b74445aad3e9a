"""`mlbuild why`: say why a target ran, or would run."""

import json
from dataclasses import asdict

from mlbuild.assembly import Explanation
from mlbuild.cli.options import COLOR, CONFIG, DEFINE, EXECUTOR, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.core.event import Event
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "why",
    "LABEL",
    "Say what differs between the last run of a target and what would run now or, where nothing "
    "would, between its last two runs.",
    (EXECUTOR, CONFIG, DEFINE, JSON, COLOR, FOLDER),
    most=1,
)


def run(words: Words, screen: Screen) -> int:
    """Print the explanation on stdout."""
    if not words.rest:
        raise InputError("no target is named", hints=("for example `mlbuild why //models:lenet`",))
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)

    def emit(event: Event) -> None:
        reader(event)

    try:
        invocation = Invocation(session.workspace, session.config, emit=emit)
        found = invocation.explain(words.rest[0], session.package)
    finally:
        reader.close()
    screen.out.lines([json.dumps(asdict(found))] if words.has("json") else explanation_lines(found))
    return 0


def explanation_lines(found: Explanation) -> list[str]:
    """Return an explanation in words: a sentence, then a line for each difference."""
    lines = [clean(f"{found.label} {_sentence(found)}")]
    width = min(max((len(clean(one.name)) for one in found.differences), default=0), 48)
    lines += [f"  {clean(one.name):<{width}}  {clean(one.change)}" for one in found.differences]
    if found.deps:
        lines += [f"  {clean(label)}" for label in found.deps]
    return lines


def _sentence(found: Explanation) -> str:
    when, versus = _spoken(found.when), _spoken(found.versus)
    if found.deps:
        return "would run after these, unless what they make is as it was:"
    if found.status == "never built":
        return "would run: it has never been built here"
    if found.status == "would run":
        if found.differences:
            return f"would run: since its run of {versus} this differs:"
        lost = f": nothing differs from its run of {when}, but its result is lost"
        return f"would run{lost if when else ''}"
    if found.differences:
        return f"is up to date; its run of {when} differed from that of {versus} in:"
    if versus:
        return f"is up to date; its run of {when} repeated that of {versus}, nothing differed"
    if when:
        return f"is up to date; its run of {when} is the only one known here"
    return "is up to date; it has not run here, its result was known"


def _spoken(when: str) -> str:
    """Return `2026-11-21T10:56:00Z` as people read it."""
    return when.replace("T", " ").replace("Z", " UTC")
