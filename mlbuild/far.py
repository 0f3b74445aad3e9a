"""Far: the shared cache as one build sees it: there or not, never in the way.

Its courier is started when something is first asked of it, so a build that finds everything in the
local store never pays for it. When the courier ends before its time, the build goes on without.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from mlbuild.core.event import Event, Uploading, Warned
from mlbuild.core.result import Result
from mlbuild.sharing import Sharing
from mlbuild.store.remote import Remote

PATIENCE = 10.0  # seconds for the courier's last word


class Search(Protocol):
    """Hears of results."""

    def found(self, key: str, result: Result | None) -> None:
        """Hear what the shared cache has for a key."""
        ...

    def brought(self, key: str, *, here: bool) -> None:
        """Hear whether the result of a key is in the local store now."""
        ...

    def abandoned(self) -> None:
        """Hear that nothing more will be found or brought."""
        ...


class Ears(Protocol):
    """Waits for several processes at once."""

    def heed(self, answers: int, *, orders: int) -> None:
        """End waiting when the pipe `answers` has something too."""
        ...

    def ignore(self, answers: int) -> None:
        """Wait no more for that pipe."""
        ...


@dataclass(frozen=True, slots=True)
class Moved:
    """What went between a build and the shared cache."""

    down: int = 0  # bytes
    up: int = 0  # bytes
    left: int = 0  # results that are not uploaded yet
    goes_on: bool = False  # whether somebody is at that


class Far:
    """The shared cache that `sharing` names, for the local store at `root`.

    `log` returns the path of the file for what its courier says beside events.
    """

    def __init__(
        self,
        sharing: Sharing,
        *,
        root: str,
        environ: Mapping[str, str],
        log: Callable[[], str],
        emit: Callable[[Event], None],
    ) -> None:
        self.reads = sharing.read
        self.uploads = sharing.may_write and sharing.upload != "off"
        self._sharing = sharing
        self._root = root
        self._environ = environ
        self._log = log
        self._emit = emit
        self._remote = Remote(root, sharing)
        self._courier: Any = None  # a Courier; its module is loaded with the first
        self._gone = False  # there was one, or there can be none
        self._search: Search | None = None
        self._ears: Ears | None = None
        self._moved = Moved()
        self._over = False

    def listen(self, search: Search, ears: Ears) -> None:
        """Tell `search` from now on what is found; `ears` hear when there is something."""
        self._search, self._ears = search, ears
        if self._courier is not None:
            self._connect()

    def mute(self) -> None:
        """Tell nobody any more."""
        if self._courier is not None and self._ears is not None:
            self._ears.ignore(self._courier.answers)
        self._search = self._ears = None

    def recall(self, key: str) -> Result | None:
        """Return a result that the shared cache is known to have had."""
        return self._remote.recall(key)

    def look_up(self, key: str) -> bool:
        """Look for the result of `key`; False where that cannot be."""
        return self._sent(lambda courier: courier.look_up(key))

    def bring(self, key: str, manifest: bytes, *, result: Result) -> bool:
        """Bring the bytes of `result`; False where that cannot be."""
        return self._sent(lambda courier: courier.bring(key, manifest, result=result))

    def push(self, key: str, *, whole: bool) -> None:
        """Upload the local result of `key`, and its bytes if `whole`: now, or later."""
        with suppress(OSError):  # one upload less
            self._remote.enqueue(key, whole=whole)
        self._sent(lambda courier: courier.push(key))

    def hear(self) -> None:
        """Pass on what the courier has answered by now."""
        if self._courier is not None and not self._courier.hear(self):
            self._lose()

    def settle(self, *, interrupted: bool = False) -> Moved:
        """End: wait for uploads, leave them to the courier or to a later build, as it is set."""
        upload = self._sharing.upload if self.uploads else "off"
        if interrupted and upload == "wait":
            upload = "off"
        if self._courier is None and not interrupted and self._has_leftovers():
            self._sent(lambda _: None)
        if self._courier is not None:
            self._settled(upload)
        left = len(self._remote.queued()) if self.uploads else 0
        return Moved(self._moved.down, self._moved.up, left, self._moved.goes_on and left > 0)

    def _has_leftovers(self) -> bool:
        """Say whether earlier builds left uploads that may succeed now."""
        return self.uploads and bool(self._remote.queued()) and self._remote.has_rested()

    def _settled(self, upload: str) -> None:
        self._courier.settle(upload)
        until = monotonic() + PATIENCE
        try:
            while not self._over and (upload == "wait" or monotonic() < until):
                if not self._courier.hear(self, seconds=1.0):
                    self._lose()
                    return
        except KeyboardInterrupt:  # what is left is queued
            upload = "off"
        self._moved = Moved(self._moved.down, self._moved.up, goes_on=upload == "background")
        self._courier.part(alone=True)
        self._courier = None

    def close(self) -> None:
        """Have nothing more to do with the courier; it ends where it was not settled."""
        self.mute()
        if self._courier is not None:
            self._courier.part(alone=True)
            self._courier = None

    # what the courier says

    def found(self, key: str, result: Result | None) -> None:
        """Pass on what the shared cache has for a key."""
        if self._search is not None:
            self._search.found(key, result)

    def brought(self, key: str, *, here: bool) -> None:
        """Pass on whether the result of a key is in the local store now."""
        if self._search is not None:
            self._search.brought(key, here=here)

    def said(self, message: str, hints: tuple[str, ...]) -> None:
        """Pass on what a user should know."""
        self._emit(Warned(message, hints))

    def counted(self, down: int, up: int, *, left: int, over: bool) -> None:
        """Take note of what was moved."""
        self._moved, self._over = Moved(down, up), over
        if left and not over:
            self._emit(Uploading(left, up))

    # the courier

    def _sent(self, order: Callable[[Any], None]) -> bool:
        """Give an order to the courier, the first one to a new one; False where there is none."""
        if self._courier is None and not self._gone:
            self._start()
        if self._courier is None:
            return False
        order(self._courier)
        return True

    def _start(self) -> None:
        from mlbuild.courier import Courier  # noqa: PLC0415 - only builds that need it pay for it

        try:
            self._courier = Courier(
                self._sharing, root=self._root, environ=self._environ, log=self._log()
            )
        except OSError as error:
            self._gone = True
            self.said(f"the shared cache is left out: {error.strerror}", ())
            return
        self._connect()

    def _connect(self) -> None:
        if self._ears is not None:
            orders, answers = self._courier.descriptors
            self._ears.heed(answers, orders=orders)

    def _lose(self) -> None:
        """Go on without the courier, which has ended."""
        if self._ears is not None:
            self._ears.ignore(self._courier.answers)
        how = self._courier.part(alone=False)
        self._courier, self._gone = None, True
        hints = (f"what it said is in {self._log()}",)
        self.said(f"the process that talks to the shared cache {how}: it is left out", hints)
        if self._search is not None:
            self._search.abandoned()
