"""`mlbuild cache evict`, `pin` and `unpin`: what the local store keeps of some targets."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from mlbuild.assembly import Request
from mlbuild.cli.cache import show
from mlbuild.cli.cache_gc import checked_url, far_errors
from mlbuild.cli.options import Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.core.label import parse_label
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation, Rested
from mlbuild.store import files
from mlbuild.store.collect import Removed, collect
from mlbuild.store.disk import open_store
from mlbuild.store.gc import now_of, plan_without
from mlbuild.store.pins import pin as keep
from mlbuild.store.pins import pins
from mlbuild.store.pins import unpin as let_go
from mlbuild.store.survey import Survey, survey
from mlbuild.store.uses import shown
from mlbuild.ui import open_reader
from mlbuild.ui.text import bytes_text, clean, plural
from mlbuild.workspace import STATE


def pin(words: Words, screen: Screen) -> int:
    """Pin targets; say how much that holds."""
    with resting(words, screen, alone=True) as (session, rested):
        if unknown := rested.unknown():
            raise InputError(
                f"`{clean(unknown[0])}` has no result to be kept",
                hints=("build it first: what is pinned is what there is now",),
            )
        keys = rested.keys
        for label in rested.plan.requested:
            ids = _before(rested, label)
            keep(
                rested.store.private,
                label,
                workspace=session.workspace.root,
                keys=[keys[id_] for id_ in ids if id_ in keys],
            )
        labels = list(rested.plan.requested)
    lines = [clean(f"pinned {label}") for label in labels]
    show({"pinned": labels}, lines, words=words, screen=screen)
    return 0


def unpin(words: Words, screen: Screen) -> int:
    """Let targets go that were pinned, whether they still exist or not."""
    session = open_session(words, screen)
    labels = [str(parse_label(text, package=session.package)) for text in words.rest]
    with open_store(session.config.cache_dir) as store:
        for label in labels:
            if not let_go(store.root, label, workspace=session.workspace.root):
                raise InputError(f"`{clean(label)}` is not pinned", hints=_pinned(store.root))
    lines = [clean(f"unpinned {label}") for label in labels]
    show({"unpinned": labels}, lines, words=words, screen=screen)
    return 0


def _pinned(root: str) -> tuple[str, ...]:
    known = [f"`{clean(one.label)}` of {clean(one.workspace)}" for one in pins(root)]
    return (f"pinned are {', '.join(known[:5])}",) if known else ("nothing is pinned",)


def evict(words: Words, screen: Screen) -> int:
    """Forget the results of targets; say how much that frees."""
    with resting(words, screen, alone=True) as (session, rested):
        ids = {
            id_
            for label in rested.plan.requested
            for id_ in (*rested.plan.targets[label].actions, *rested.makers(label))
        }
        found = survey(rested.store.root, whole=False)
        keys = [key for id_, key in rested.keys.items() if id_ in ids]
        _check_pins(rested, keys)
        _hide(session, rested, found, keys)
        removed = collect(rested.store, plan_without(found, keys, now=now_of(rested.store)))
        labels = list(rested.plan.requested)
        far = _forget_far(session, rested, ids) if words.has("remote") else 0
    report = {"evicted": labels, "results": removed.results, "freed": removed.freed, "remote": far}
    lines = _lines(labels, removed, far, remote=words.has("remote"))
    show(report, lines, words=words, screen=screen)
    return 0


def _lines(labels: list[str], removed: Removed, far: int, *, remote: bool) -> list[str]:
    named = ", ".join(clean(label) for label in labels)
    lines = [f"{plural(removed.results, 'result')} of {named}: {bytes_text(removed.freed)} freed"]
    if remote:
        lines.append(f"{plural(far, 'result')} forgotten in the shared cache")
    return lines


def _check_pins(rested: Rested, keys: list[str]) -> None:
    for one in pins(rested.store.root):
        if set(keys) & set(one.keys):
            raise InputError(
                f"`{clean(one.label)}` of {clean(one.workspace)} is pinned and rests on that",
                hints=(f"`mlbuild cache unpin {clean(one.label)}` lets it go",),
            )


def _hide(session: Session, rested: Rested, found: Survey, keys: list[str]) -> None:
    """Have the workspace show nothing of results that go, and no null build answer for them."""
    gone = {one.trees[0] for one in found.known if one.key in keys and one.trees}
    workspace, producers = session.workspace, rested.plan.producers()
    files.remove(f"{workspace.root}/{STATE}/requests")
    for label in rested.plan.requested:
        outputs = rested.plan.targets[label].outputs
        for folder in {producers[path].folder for path in outputs if path in producers}:
            place = f"{workspace.out}/{folder.partition('/')[2]}"
            if os.path.islink(place):
                files.remove(place)
                continue
            for link in files.below(place):  # a folder also holds what targets below it deliver
                if os.path.islink(link) and any(tree in os.readlink(link) for tree in gone):
                    files.remove(link)
    found.shown[workspace.root] = shown(rested.store.root, workspace.root)


def _forget_far(session: Session, rested: Rested, ids: set[str]) -> int:
    """Remove results from the scope of the shared cache that is written; return how many."""
    from mlbuild.shared.layout import ENTRIES, place  # noqa: PLC0415 - start-up: the far side
    from mlbuild.shared.opened import open_bucket  # noqa: PLC0415 - likewise
    from mlbuild.store.remote import Remote  # noqa: PLC0415 - likewise

    sharing = session.config.sharing
    url = checked_url(session.config)
    keys = [rested.outcome.keys[id_] for id_ in ids if id_ in rested.outcome.keys]
    names = [place(sharing.scope, ENTRIES, key) for key in keys]
    with far_errors(url), closing(open_bucket(sharing)) as bucket:
        there = [name for name in names if bucket.read(name, size=1) is not None]
        bucket.remove(there)
    remote = Remote(rested.store.root, sharing)
    for key in keys:
        remote.forget(key)
        remote.dequeue(key)
    return len(there)


@contextmanager
def resting(words: Words, screen: Screen, *, alone: bool) -> Iterator[tuple[Session, Rested]]:
    """Yield what is known of the targets that the words select. Nothing runs.

    `alone`, only the local store is asked; else the shared cache too.
    """
    session = open_session(words, screen)
    request = Request(words.rest, package=session.package)
    reader = open_reader(screen.err, screen.terminal)
    try:
        invocation = Invocation(session.workspace, session.config, emit=reader)
        with invocation.rested(request, alone=alone) as rested:
            reader.close()
            yield session, rested
    finally:
        reader.close()


def _before(rested: Rested, label: str) -> set[str]:
    """Return the actions that a target rests on, its own and those that deliver it included."""
    found = {*rested.plan.targets[label].actions, *rested.makers(label)}
    for id_ in list(found):
        found |= {one.id for one in rested.plan.before(id_).actions}
    return found
