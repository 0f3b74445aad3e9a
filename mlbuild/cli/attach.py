"""`mlbuild attach`: follow a job that runs elsewhere, whoever started it."""

from mlbuild.cli.following import await_end, follow
from mlbuild.cli.jobs import THERE
from mlbuild.cli.options import COLOR, FOLDER, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.errors import InputError
from mlbuild.remote.jobs.lookout import Lookout, Sighting, Silence, chosen
from mlbuild.ui.text import clean

USAGE = Usage(
    "attach",
    "LABEL | KEY | JOB",
    "Print the log of a job that runs elsewhere, from its beginning and as it is written, until it "
    "ends; return 0 when that is a success and 1 when it failed. Ctrl-C leaves the job alone. "
    "Of a key, and of a job as `mlbuild jobs` lists it, the first six letters will do.",
    (
        THERE,
        Option(("--tail",), "Begin with the last N lines of what there is.", "N", "tail"),
        Option(
            ("--json",), "Print no log, wait for the end, and print one JSON object.", dest="json"
        ),
        *(COLOR, FOLDER),
    ),
    most=1,
)


def run(words: Words, screen: Screen) -> int:
    """Follow the one job that is named."""
    if not words.rest:
        raise InputError(
            "no job is named", hints=("`mlbuild jobs` lists them, and a label will do",)
        )
    tail = words.text("tail")
    if words.has("tail") and not tail.isdigit():
        raise InputError(f"`--tail` takes a number of lines, not `{tail}`")
    session = open_session(words, screen)
    lookout = Lookout(session.config)
    try:
        seen = one_job(words, session, lookout)
        if words.has("json"):
            return await_end(seen, lookout, screen)
        return follow(seen, lookout, screen, tail=int(tail) if tail else None)
    finally:
        lookout.close()


def one_job(words: Words, session: Session, lookout: Lookout) -> Sighting:
    """Return the job that the first word names; raise InputError where that is not one."""
    word = words.rest[0]
    found, silent = named(word, session, lookout, executor=words.text("executor"))
    alive = [one for one in found if one.is_alive] or found
    if not alive:
        raise no_job(word, silent)
    if len(alive) > 1:
        raise InputError(
            f"`{clean(word)}` names {len(alive)} jobs",
            hints=("name one by its first letters, as `mlbuild jobs` lists it",),
            notes=tuple(_line(one) for one in alive),
        )
    return alive[0]


def named(
    word: str, session: Session, lookout: Lookout, *, executor: str
) -> tuple[list[Sighting], list[Silence]]:
    """Return the jobs that `word` names, those of this workspace where it has some.

    Without `executor`, those that were started from here; where there is none, that of the settings
    is asked.
    """
    asked = [executor]
    config = session.config
    if not executor and config.executor in config.executors:
        asked.append(config.executor)
    silent: list[Silence] = []
    for name in asked:
        seen, mute = lookout.look(executor=name)
        silent += mute
        found = chosen(word, seen, package=session.package)
        ours = [one for one in found if one.note.root == session.workspace.root]
        if found:
            return ours or found, silent
    return [], silent


def no_job(word: str, silent: list[Silence]) -> InputError:
    """Return what to say where no job is what `word` names."""
    return InputError(
        f"nothing that runs elsewhere is `{clean(word)}`",
        hints=(
            "`mlbuild jobs` lists what does, with `--executor NAME` all that you have there",
            f"`mlbuild log {clean(word)}` prints the newest log of a target",
        ),
        notes=tuple(f"`{one.executor}` cannot be asked: {one.reason}" for one in silent),
    )


def _line(one: Sighting) -> str:
    note = one.note
    return f"{note.id[:12]}: {note.label} on `{note.executor}`, {one.state.phase}"
