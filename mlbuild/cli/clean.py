"""`mlbuild clean`: remove what can be made again."""

import os
import sys

from mlbuild.cli.options import COLOR, FOLDER, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.errors import InputError
from mlbuild.store import files, gc
from mlbuild.store.disk import open_store
from mlbuild.store.kept import kept_prefix, sweep_kept
from mlbuild.ui.text import bytes_text, clean, plural
from mlbuild.workspace import STATE

USAGE = Usage(
    "clean",
    "",
    "Remove `mlbuild-out` and `.mlbuild` of this workspace, and sandboxes that `--keep-sandbox` "
    "kept. Results stay in the store, so that the next build restores them.",
    (
        Option(
            ("--cache",),
            "Also empty the local store, which all your workspaces share. The history stays.",
            dest="cache",
        ),
        Option(("--yes",), "Do not ask.", dest="yes"),
        COLOR,
        FOLDER,
    ),
)
_CACHES = ("code", "tools", "downloads")  # beside the results in the store's folder


def run(words: Words, screen: Screen) -> int:
    """Remove; say on stdout what was removed and how much that frees."""
    session = open_session(words, screen)
    if words.has("cache") and not words.has("yes") and not _agreed(session):
        screen.err.lines(["nothing was removed"])
        return 0
    for place in (session.workspace.out, os.path.join(session.workspace.root, STATE)):
        if os.path.lexists(place):
            with files.disk_errors(place):
                freed = _remove(place)
            screen.out.lines([f"removed {clean(place)}: {bytes_text(freed)}"])
    removed = sweep_kept(session.config.cache_dir, prefix=kept_prefix(session.workspace.root))
    if removed:
        screen.out.lines([f"removed the sandboxes of {plural(removed, 'failure')}"])
    if words.has("cache"):
        _empty_store(session)
    return 0


def _agreed(session: Session) -> bool:
    """Ask on the terminal whether the store may be emptied."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InputError(
            f"the store `{session.config.cache_dir}` is only emptied when you say so",
            hints=("add `--yes`",),
        )
    place = clean(session.config.cache_dir)
    session.screen.err.write(f"empty the store {place}, shared by all your workspaces? [y/N] ")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _empty_store(session: Session) -> None:
    place = session.config.cache_dir
    if not os.path.isfile(os.path.join(place, "version")):
        session.screen.out.lines([f"no store at {clean(place)}"])
        return
    store = open_store(place)
    freed = gc.clean(store)
    with files.disk_errors(place):
        freed += sum(_remove(os.path.join(place, name)) for name in _CACHES)
    session.screen.out.lines([f"emptied {clean(place)}: {bytes_text(freed)}"])


def _remove(place: str) -> int:
    """Remove a file, link or folder if it is there; return how many bytes that frees."""
    if os.path.isdir(place) and not os.path.islink(place):
        freed = files.usage(place, seen=set())
    else:
        freed = os.lstat(place).st_blocks * 512 if os.path.lexists(place) else 0
    files.remove(place)
    return freed
