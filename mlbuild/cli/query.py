"""`mlbuild query`: ask which targets and files there are, and what depends on what."""

import os
from collections.abc import Iterable, Mapping

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, EXECUTOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.errors import InputError, did_you_mean
from mlbuild.query.evaluate import Answers, Evaluator, Some
from mlbuild.query.functions import FUNCTIONS
from mlbuild.query.order import ORDERS, ordered
from mlbuild.query.parse import parse
from mlbuild.query.paths import rdeps
from mlbuild.query.show import FORMS, Found
from mlbuild.query.syntax import Expression
from mlbuild.query.universe import Reads, Universe
from mlbuild.query.words import patterns_text, query_text
from mlbuild.ui.diagnose import error_lines
from mlbuild.ui.text import clean

USAGE = Usage(
    "query",
    "EXPRESSION | FUNCTION ARGUMENT… | PATTERN…",
    "Ask which targets and files there are and what depends on what; nothing is built. "
    "`deps //models:lenet` is short for `deps(//models:lenet)`. Sets are joined with `+`, `-` and "
    f"`^`. Functions: {', '.join(one.shown(name) for name, one in FUNCTIONS.items())}.",
    (
        Option(
            ("-o", "--output"),
            f"What to show: {', '.join(f'`{name}`' for name in FORMS)}.",
            "KIND",
            "output",
        ),
        Option(
            ("--order",),
            "`auto` (by label), `no` (as found), `deps` or `full` (each before what it needs).",
            "ORDER",
            "order",
        ),
        Option(
            ("-k", "--keep-going"),
            "Leave out what is broken, say so, and exit with 2.",
            dest="keep_going",
        ),
        Option(
            ("--no-implicit",),
            "Leave out what rules need by themselves, such as their tools.",
            dest="no_implicit",
        ),
        Option(
            ("--null",), "End each entry with a NUL byte and write out nothing of it.", dest="null"
        ),
        EXECUTOR,
        CONFIG,
        DEFINE,
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)


def run(words: Words, screen: Screen) -> int:
    """Print what the query finds on stdout."""
    if not words.rest:
        raise InputError(
            "no target is named",
            hints=(
                "`mlbuild query //...` shows all of the workspace",
                "`mlbuild query deps //models:lenet` shows what a target depends on",
            ),
        )
    kind = "json" if words.has("json") else words.text("output") or "label"
    form = FORMS[_one_of("--output", kind, FORMS)]
    order = _one_of("--order", words.text("order") or "auto", ORDERS)
    if words.has("null") and not form.entries:
        names = [name for name, one in FORMS.items() if one.entries]
        raise InputError(
            f"`--null` cannot end the entries of `{kind}`, which is no list",
            hints=(f"it goes with {', '.join(names)}",),
        )
    session = open_session(words, screen)
    faults: list[InputError] = []

    def fault(error: InputError) -> None:
        faults.append(error)
        screen.err.lines(error_lines(error, screen.place))

    universe = Universe(
        session.workspace,
        lambda: _reader(session),
        say=lambda text: screen.err.lines([f"warning: {clean(text)}"]),
        fault=fault if words.has("keep_going") else None,
        implicit=not words.has("no_implicit"),
    )
    try:
        text, expression = _query(words.rest, universe, session.package)
        answers = _answers(session, universe)
        evaluator = Evaluator(universe, answers, text=text, package=session.package)
        labels = evaluator.evaluate(expression)
        shown = ordered(labels, order, query=expression, universe=universe)
        lines = form.lines(Found(shown, universe))
    finally:
        universe.keep()
    if words.has("null"):
        _write_raw(lines, screen)
    else:
        plain = kind in {"json", "ndjson"}
        screen.out.lines(lines if plain else [clean(line) for line in lines])
    return InputError.exit_code if faults else 0


def _one_of(option: str, word: str, known: Mapping[str, object]) -> str:
    """Return `word`; raise InputError where the option cannot be that."""
    if word not in known:
        raise InputError(
            f"`{option}` cannot be `{word}`",
            hints=(*did_you_mean(word, list(known)), f"it is one of {', '.join(known)}"),
        )
    return word


def _query(words: tuple[str, ...], universe: Universe, package: str) -> tuple[str, Expression]:
    """Return the query that words mean: labels, where they are some that no query can hold bare."""
    text = query_text(words)
    try:
        return text, parse(text)
    except InputError as error:
        try:
            for word in words:
                universe.matching(word.removeprefix("-"), package=package)
            text = patterns_text(words)
            return text, parse(text)
        except InputError:  # no labels: what is told is how the query is wrong
            raise error from None


def _reader(session: Session) -> Reads:
    from mlbuild.query.reader import Reader  # noqa: PLC0415 - start-up: most is known

    code = os.path.join(session.config.cache_dir, "code")
    err = session.screen.err
    return Reader(
        session.workspace, code=code, say=lambda text: err.lines([f"warning: {clean(text)}"])
    )


def _answers(session: Session, universe: Universe) -> Answers:
    """Return what answers the questions about commits and results."""

    def affected(revision: str) -> Iterable[str]:
        from mlbuild.git.affected import WORKTREE, affected  # noqa: PLC0415 - start-up

        found = affected(session.workspace, session.config, base=revision, head=WORKTREE)
        return [one.label for one in found]

    def stale(labels: Some) -> Iterable[str]:
        return _dry_run(session, labels)[0]

    def cached(labels: Some) -> Iterable[str]:
        stale, known = _dry_run(session, labels)
        waiting = rdeps(known, dict.fromkeys(stale), universe.below, None)
        return [label for label in known if label not in waiting]

    return Answers(affected, stale, cached)


def _dry_run(session: Session, labels: Some) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the targets that a build of `labels` would run, and those whose results are known."""
    from mlbuild.assembly import Request  # noqa: PLC0415 - start-up: few queries ask for results
    from mlbuild.invocation import Invocation  # noqa: PLC0415 - likewise

    invocation = Invocation(session.workspace, session.config, emit=lambda _: None)
    finished = invocation.build(Request(labels or ("//...",), dry_run=True))
    return finished.ran, finished.cached


def _write_raw(entries: list[str], screen: Screen) -> None:
    """Write entries as the bytes that they are, each with a NUL."""
    stream = screen.out.stream
    try:
        stream.flush()
        stream.buffer.write(b"".join(os.fsencode(one) + b"\0" for one in entries))
        stream.buffer.flush()
    except OSError:
        screen.out.give_up()
