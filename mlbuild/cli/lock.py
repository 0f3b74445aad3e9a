"""`mlbuild lock`: write or update locks. The only command that resolves."""

import json

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.core.event import Warned
from mlbuild.locking import Locked, Locker, Wish, locks_of
from mlbuild.reading import Reading
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "lock",
    "[PATTERN…]",
    "Write the locks of environments from their `requirements`, and the digests of tagged images; "
    "without patterns, of the whole workspace. Versions that are locked stay as they are unless "
    "asked. Nothing else in mlbuild ever resolves.",
    (
        Option(("--upgrade",), "Take the newest versions of everything.", dest="upgrade"),
        Option(
            ("--upgrade-package",),
            "Take the newest version of NAME.",
            "NAME",
            "upgrade_package",
            many=True,
        ),
        Option(
            ("--check",),
            "Write nothing; exit with 1 when a lock is not up to date.",
            dest="check",
        ),
        Option(
            ("--this-platform",),
            "Lock a requirements.txt for this platform and Python only; the lock remembers it.",
            dest="narrow",
        ),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)


def run(words: Words, screen: Screen) -> int:
    """Lock; print the locks that changed on stdout."""
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)
    wish = Wish(
        upgrade=words.has("upgrade"),
        packages=words.lists.get("upgrade_package", ()),
        check=words.has("check"),
        narrow=words.has("narrow"),
    )
    try:

        def say(text: str) -> None:
            reader(Warned(text))

        reading = Reading(session.workspace, session.config, say=say)
        locks = locks_of(reading.targets(words.rest or ("//...",), session.package))
        locker = Locker(
            session.workspace.root,
            session.workspace.rules_root(),
            session.config.cache_dir,
            environ=screen.environ,
            wish=wish,
        )
        found = list(locker.make(locks, say=lambda _: None))
    finally:
        reader.close()
    if words.has("json"):
        screen.out.lines([json.dumps({"locks": [_object(one) for one in found]})])
    else:
        screen.out.lines([clean(_line(one, check=wish.check)) for one in found])
        if not found:
            screen.err.lines(["no target has a lock that is made of something"])
    return 1 if wish.check and any(one.changed for one in found) else 0


def _line(one: Locked, *, check: bool) -> str:
    changed = "is not up to date: run `mlbuild lock`" if check else "written"
    what = f" ({one.lock.image})" if one.lock.image else ""
    return f"{one.lock.path}{what}: {changed if one.changed else 'up to date'}"


def _object(one: Locked) -> dict[str, object]:
    return {
        "label": one.lock.label,
        "path": one.lock.path,
        "kind": one.lock.kind,
        "source": one.lock.image or one.lock.source,
        "changed": one.changed,
    }
