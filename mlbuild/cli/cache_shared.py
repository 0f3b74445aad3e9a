"""`mlbuild cache push` and `mlbuild cache pull`: targets to and from the shared cache."""

import os
import select
from collections.abc import Callable, Mapping
from dataclasses import replace

from mlbuild.cli.cache import show
from mlbuild.cli.cache_gc import checked_url
from mlbuild.cli.cache_targets import resting
from mlbuild.cli.options import Words
from mlbuild.cli.session import Screen, Session, terminations
from mlbuild.core.event import Event
from mlbuild.core.result import Result
from mlbuild.errors import HostError, InputError
from mlbuild.far import Far
from mlbuild.fetch import has_shared_bytes, is_shared
from mlbuild.invocation import Rested
from mlbuild.sharing import Sharing
from mlbuild.store.remote import Remote
from mlbuild.ui import Reader, open_reader
from mlbuild.ui.counter import counter
from mlbuild.ui.text import bytes_text, clean, plural


def push(words: Words, screen: Screen) -> int:
    """Upload what targets rest on; say how much that was."""
    with terminations(), resting(words, screen, alone=True) as (session, rested):
        url = checked_url(session.config)
        sharing = replace(session.config.sharing, upload="wait")
        _check_writing(sharing)
        if unknown := rested.unknown():
            raise InputError(
                f"`{clean(unknown[0])}` has no result in the local store",
                hints=("build it first",),
            )
        keys = _shareable(rested)
        reader = open_reader(screen.err, screen.terminal)
        try:
            far = _far(session, sharing, rested, emit=reader)
            for key, whole in keys.items():
                far.push(key, whole=whole)
            moved = far.settle()
        finally:
            reader.close()
        left = set(Remote(rested.store.root, sharing).queued()) & set(keys)
    report = {"pushed": len(keys) - len(left), "left": len(left), "up": moved.up}
    done = f"{plural(len(keys) - len(left), 'result')} in the shared cache"
    show(report, [f"{done}, {bytes_text(moved.up)} sent"], words=words, screen=screen)
    if left:
        raise HostError(
            f"{plural(len(left), 'result')} could not be uploaded to `{url}`",
            hints=("they are queued: a later build that uploads sends them",),
        )
    return 0


def _check_writing(sharing: Sharing) -> None:
    if sharing.may_write:
        return
    why = f'`cache.write = "{sharing.write}"`'
    if sharing.write == "trusted":
        why += ", and it neither signs nor has an identity"
    raise InputError(
        f"this machine may not write to the shared cache: {why}",
        hints=('set `cache.write = "always"`, or `cache.signing_key`',),
    )


def _shareable(rested: Rested) -> dict[str, bool]:
    """Return the keys of the results that others may have, and whether they may have the bytes."""
    may = {one.id: has_shared_bytes(one) for one in rested.plan.actions if is_shared(one)}
    return {
        key: may[id_]
        for id_, key in rested.keys.items()
        for result in [rested.outcome.results[id_]]
        if id_ in may and result.hermetic and result.share
    }


def pull(words: Words, screen: Screen) -> int:
    """Bring targets; say how much that was. Raises InputError for one that nobody has made."""
    with terminations(), resting(words, screen, alone=False) as (session, rested):
        checked_url(session.config)
        sharing = replace(session.config.sharing, read=True, upload="off")
        unknown = rested.unknown()
        wanted = _wanted(rested, unknown)
        with counter(screen.err, screen.terminal) as tell:
            far = _far(session, sharing, rested, emit=lambda _: None)
            pulling = _Pulling(far, wanted, tell=tell)
            lost = pulling.run(rested)
            moved = far.settle()
        lost_labels = [label for label in rested.plan.requested if set(rested.makers(label)) & lost]
        pulled = [label for label in rested.plan.requested if label not in {*unknown, *lost_labels}]
    report = {
        "pulled": pulled,
        "missing": [*unknown, *lost_labels],
        "results": len(wanted) - len(lost),
        "down": moved.down,
    }
    lines = [clean(f"pulled {label}") for label in pulled]
    lines.append(f"{plural(len(wanted) - len(lost), 'result')}, {bytes_text(moved.down)} received")
    show(report, lines, words=words, screen=screen)
    if unknown or lost_labels:
        raise InputError(
            f"`{clean((*unknown, *lost_labels)[0])}` is not in the shared cache as its sources are",
            hints=("`mlbuild --dry-run` says what would run, and why",),
        )
    return 0


def _wanted(rested: Rested, unknown: list[str]) -> dict[str, Result]:
    """Return the results, by action, that targets deliver and whose bytes are not here."""
    found: dict[str, Result] = {}
    for label in rested.plan.requested:
        for id_ in rested.makers(label) if label not in unknown else ():
            result = rested.outcome.results[id_]
            address = rested.keys[id_]
            kept = rested.store.lookup(address)
            if kept is None or rested.store.place(kept.tree) is None:
                found[id_] = result
    return found


class _Pulling:
    """Brings results, all at once, and waits for them."""

    def __init__(
        self, far: Far, wanted: Mapping[str, Result], *, tell: Callable[[str], None]
    ) -> None:
        self._far = far
        self._wanted = wanted
        self._tell = tell
        self._coming: dict[str, str] = {}  # key -> action
        self._lost: set[str] = set()
        self._poll = select.poll()

    def run(self, rested: Rested) -> set[str]:
        """Bring everything; return the actions whose bytes could not be had."""
        self._far.listen(self, self)
        for id_, result in self._wanted.items():
            key = rested.outcome.keys[id_]
            self._coming[key] = id_
            if not self._far.bring(key, rested.outcome.manifests[id_], result=result):
                self.brought(key, here=False)
        while self._coming:
            self._tell(f"{plural(len(self._coming), 'result')} to come")
            self._poll.poll(1000)
            self._far.hear()
        self._far.mute()
        return self._lost

    def found(self, key: str, result: Result | None) -> None:
        """Hear of a result; nobody asks here."""

    def brought(self, key: str, *, here: bool) -> None:
        """Hear whether the result of a key is here now."""
        id_ = self._coming.pop(key, "")
        if id_ and not here:
            self._lost.add(id_)

    def abandoned(self) -> None:
        """Hear that nothing more will come."""
        for key in list(self._coming):
            self.brought(key, here=False)

    def heed(self, answers: int, *, orders: int) -> None:
        """Wait for the courier's pipe too; nothing is forked here that could hold `orders`."""
        assert orders >= 0
        self._poll.register(answers, select.POLLIN)

    def ignore(self, answers: int) -> None:
        """Wait no more for it."""
        self._poll.unregister(answers)


def _far(
    session: Session, sharing: Sharing, rested: Rested, *, emit: Callable[[Event], None] | Reader
) -> Far:
    """Return the shared cache, for the local store that is open."""
    folder = rested.store.run_folder(f"cache-{os.getpid()}")

    def log() -> str:
        return os.path.join(os.path.dirname(folder), "courier.log")

    return Far(sharing, root=rested.store.root, environ=session.config.environ, log=log, emit=emit)
