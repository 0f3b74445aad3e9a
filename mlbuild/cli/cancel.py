"""`mlbuild cancel`: have jobs end that run elsewhere, and wait until they have."""

import json
from collections.abc import Sequence
from time import monotonic, sleep

from mlbuild.cli.attach import named, no_job
from mlbuild.cli.jobs import THERE
from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.errors import HostError, InputError
from mlbuild.remote.jobs.lookout import Lookout, Sighting, as_dict
from mlbuild.ui.text import clean

USAGE = Usage(
    "cancel",
    "(LABEL | KEY | JOB)…",
    "Ask jobs that run elsewhere to end, and wait until they have. A label means all jobs of the "
    "target; of a key, and of a job as `mlbuild jobs` lists it, the first six letters will do.",
    (
        THERE,
        Option(
            ("--all",),
            "All that were started in this workspace; with `--executor`, all that you have there.",
            dest="all",
        ),
        *(JSON, COLOR, FOLDER),
    ),
    most=None,
)
PATIENCE = 60.0  # seconds that a job has to end
_PAUSE = 0.1  # seconds between two looks


def run(words: Words, screen: Screen) -> int:
    """End the jobs that are named; raise HostError where one does not."""
    if not words.rest and not words.has("all"):
        raise InputError("no job is named", hints=("a label will do, or `--all`",))
    session = open_session(words, screen)
    lookout = Lookout(session.config)
    try:
        wanted = _wanted(words, session, lookout)
        ended = _ended(wanted, lookout, screen)
    finally:
        lookout.close()
    if words.has("json"):
        screen.out.lines([json.dumps({"cancelled": [as_dict(one) for one in ended]})])
    elif not wanted:
        screen.err.lines(["nothing runs elsewhere"])
    return 0


def _wanted(words: Words, session: Session, lookout: Lookout) -> list[Sighting]:
    """Return the jobs that are to end."""
    executor = words.text("executor")
    if words.has("all"):
        root = "" if executor else session.workspace.root
        found, silent = lookout.look(executor=executor, root=root)
        if silent:
            raise HostError(f"`{silent[0].executor}` cannot be asked: {silent[0].reason}")
        return [one for one in found if one.is_alive]
    wanted: dict[str, Sighting] = {}
    for word in words.rest:
        seen, silent = named(word, session, lookout, executor=executor)
        if not seen:
            raise no_job(word, silent)
        alive = [one for one in seen if one.is_alive]
        if not alive:
            raise InputError(f"`{clean(word)}` names a job that is over: nothing is left to end")
        if len({one.note.label for one in alive}) > 1:
            raise InputError(
                f"`{clean(word)}` names jobs of several targets",
                hints=("name them by their labels, or by more letters",),
                notes=tuple(f"{one.note.id[:12]}: {one.note.label}" for one in alive),
            )
        wanted |= {one.note.id: one for one in alive}
    return list(wanted.values())


def _ended(wanted: Sequence[Sighting], lookout: Lookout, screen: Screen) -> list[Sighting]:
    """Have jobs end, and return them as they were seen last; each is told on stderr."""
    asked: set[tuple[str, str]] = set()
    left = {one.note.id: one for one in wanted}
    over: list[Sighting] = []
    until = monotonic() + PATIENCE
    while left:
        for one in list(left.values()):
            note = one.note
            if (note.id, one.state.attempt) not in asked:  # a new attempt has not heard of it
                asked.add((note.id, one.state.attempt))
                lookout.under_way(note.executor).cancel(note)
            now = lookout.sighting(note)
            if now is not None and now.is_alive:
                left[note.id] = now
            elif now is not None or one.state.attempt:
                del left[note.id]
                over.append(now or one)
                screen.err.lines([clean(_told(now or one))])
        if left and monotonic() > until:
            one = next(iter(left.values()))
            raise HostError(
                f"`{one.note.label}` does not end on `{one.note.where}`, though it was asked to",
                hints=(f"`mlbuild jobs --executor {one.note.executor}` says how far it is",),
            )
        if left:
            sleep(_PAUSE)
    return over


def _told(one: Sighting) -> str:
    label, where = one.note.label, one.note.where
    if one.state.phase == "ended":
        return f"`{label}` ended on `{where}` before it heard of that"
    return f"`{label}` was cancelled on `{where}`"
