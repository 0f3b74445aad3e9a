"""Fetch: what the actions of one schedule wait for from the shared cache.

Results come first, their bytes only where somebody needs them: a result whose outputs nobody
delivers or reads stays where it is, and its digests alone lead on to the keys that follow.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mlbuild.core.action import Action, Run, Write
from mlbuild.core.event import Event, Fetched, Fetching
from mlbuild.core.result import Result
from mlbuild.far import Ears, Far


@dataclass(frozen=True, slots=True)
class Known:
    """There is a result for an action, and its bytes are here if they are wanted."""

    id: str
    key: str
    result: Result
    source: str  # "shared", or "local" when nothing had to be asked or brought


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no result for an action."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class Near:
    """All that an action reads is here."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The bytes of some of what an action reads cannot be brought: `makers` must run again."""

    id: str
    key: str
    makers: frozenset[str]


News = Known | Unknown | Near | Gone


@dataclass(slots=True)
class _Wish:
    """An action whose result is looked for."""

    id: str
    owner: str
    key: str
    manifest: bytes
    wanted: bool  # its bytes too
    has_bytes: bool  # or everybody makes them anew
    result: Result | None = None


@dataclass(slots=True)
class _Wait:
    """An action that waits for bytes: its own result's, or those of what it reads."""

    id: str
    key: str
    missing: set[str] = field(default_factory=set)  # actions whose results are on their way
    lost: set[str] = field(default_factory=set)


class Fetch:
    """Looks for results and brings bytes, for the actions of one schedule.

    Without `far` there is nothing to be found. In a dry run no bytes are brought.
    """

    def __init__(
        self, far: Far | None, *, ears: Ears, dry_run: bool, emit: Callable[[Event], None]
    ) -> None:
        self._far = far
        self._emit = emit
        self._dry_run = dry_run
        self._asked: dict[str, list[_Wish]] = {}  # by key
        self._elsewhere: dict[str, _Wish] = {}  # by action, whose bytes are not here
        self._coming: dict[str, set[str]] = {}  # key -> actions whose bytes these are
        self._waits: list[_Wait] = []
        self._news: deque[News] = deque()
        if far is not None:
            far.listen(self, ears)

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._far is not None:
            self._far.mute()

    @property
    def busy(self) -> bool:
        """Say whether there will be news."""
        return bool(self._news or self._asked or self._coming)

    @property
    def has_news(self) -> bool:
        """Say whether there is some already."""
        return bool(self._news)

    def news(self) -> Iterator[News]:
        """Yield what has come since the last time."""
        if self._far is not None and (self._asked or self._coming):
            self._far.hear()
        while self._news:
            yield self._news.popleft()

    def look(self, action: Action, key: str, *, manifest: bytes, wanted: bool) -> bool:
        """Begin to look for the result of `key`; False where that is no use."""
        if self._far is None or not self._far.reads or not is_shared(action):
            return False
        has_bytes = has_shared_bytes(action)
        if wanted and not has_bytes:
            return False
        bytes_too = wanted and not self._dry_run
        wish = _Wish(action.id, action.owner, key, manifest, bytes_too, has_bytes)
        known = self._far.recall(key)
        if known is not None:
            self._take(wish, known, source="local")
            return True
        if key not in self._asked and not self._far.look_up(key):
            return False
        self._asked.setdefault(key, []).append(wish)
        return True

    def bring(self, id_: str, key: str, *, makers: Iterable[str]) -> bool:
        """Begin to bring what `makers` made and an action reads; False where all is here."""
        far = {maker for maker in makers if maker in self._elsewhere}
        if far:
            self._waits.append(_Wait(id_, key, set(far)))
            for maker in sorted(far):
                if maker in self._elsewhere:  # else it could not be ordered with another
                    self._order(self._elsewhere[maker])
        return bool(far)

    def forget(self, id_: str) -> None:
        """Look no more for what an action made before."""
        self._elsewhere.pop(id_, None)

    def push(self, action: Action, key: str, *, result: Result) -> None:
        """Upload the result of an action that ran, if others may have it."""
        if self._far is None or not (self._far.uploads and is_shared(action)):
            return
        if result.hermetic and result.share:
            self._far.push(key, whole=has_shared_bytes(action))

    # what is heard

    def found(self, key: str, result: Result | None) -> None:
        """Hear what the shared cache has for a key."""
        for wish in self._asked.pop(key, ()):
            if result is None:
                self._news.append(Unknown(wish.id, key))
            else:
                self._take(wish, result, source="shared")

    def brought(self, key: str, *, here: bool) -> None:
        """Hear whether the result of a key is in the local store now."""
        for maker in sorted(self._coming.pop(key, ())):
            wish = self._elsewhere.pop(maker, None)
            if wish is None:
                continue
            if wish.has_bytes:
                self._emit(Fetched(wish.id, wish.owner, here))
            for wait in self._waits:
                if maker in wait.missing:
                    wait.missing.discard(maker)
                    wait.lost |= set() if here else {maker}
                    if not wait.missing:
                        self._end(wait, wish)
        self._waits = [wait for wait in self._waits if wait.missing]

    def abandoned(self) -> None:
        """Hear that nothing more will be found or brought."""
        for key in list(self._asked):
            self.found(key, None)
        for key in list(self._coming):
            self.brought(key, here=False)

    def _take(self, wish: _Wish, result: Result, *, source: str) -> None:
        wish.result = result
        self._elsewhere[wish.id] = wish
        if not wish.wanted:
            self._news.append(Known(wish.id, wish.key, result, source))
            return
        self._waits.append(_Wait(wish.id, wish.key, {wish.id}))
        self._order(wish)

    def _order(self, wish: _Wish) -> None:
        """Have the bytes of a known result brought, unless they are on their way."""
        if wish.key in self._coming:
            self._coming[wish.key].add(wish.id)
            return
        assert self._far is not None
        assert wish.result is not None
        self._coming[wish.key] = {wish.id}
        if not wish.has_bytes:
            self.brought(wish.key, here=False)
            return
        self._emit(Fetching(wish.id, wish.owner))
        if not self._far.bring(wish.key, wish.manifest, result=wish.result):
            self.brought(wish.key, here=False)

    def _end(self, wait: _Wait, last: _Wish) -> None:
        """Tell how it ended that an action waited for bytes, those of `last` at last."""
        if wait.id == last.id:
            assert last.result is not None
            known = Known(wait.id, wait.key, last.result, "shared")
            self._news.append(Unknown(wait.id, wait.key) if wait.lost else known)
        elif wait.lost:
            self._news.append(Gone(wait.id, wait.key, frozenset(wait.lost)))
        else:
            self._news.append(Near(wait.id, wait.key))


def is_shared(action: Action) -> bool:
    """Say whether others may have results of `action`, and it those of others."""
    does = action.does
    return isinstance(does, Write) or (isinstance(does, Run) and does.cache in {"shared", "result"})


def has_shared_bytes(action: Action) -> bool:
    """Say whether what `action` makes travels too, and not only the word of what it is."""
    return not (isinstance(action.does, Run) and action.does.cache == "result")
