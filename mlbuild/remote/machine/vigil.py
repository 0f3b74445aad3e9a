"""Vigil: questions that an agent answers when a run has news, and not before.

A runner that the agent has started rings when it has told something. Of others, and of those that
may have died, the agent learns by looking.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from mlbuild.remote.control import Control
from mlbuild.remote.machine.site import Site
from mlbuild.remote.machine.starter import Starter
from mlbuild.remote.state import State, encode

TICK = 0.1  # seconds between two looks at what did not ring
ALIVE = 1.0  # seconds between two looks whether a runner lives
MOST = 4 << 20  # bytes of a log in one answer; there is always one piece at least

Answer = tuple[dict[str, Any], bytes]


@dataclass(slots=True)
class _Wish:
    """One question: news of `id`, beyond what its words say is known."""

    number: int
    id: str
    words: Mapping[str, Any]
    control: Control
    starter: Starter
    until: float
    seen: tuple[int, int] = (0, 0)  # how the file of its state looked
    looked: float = field(default=0.0)  # when it was last seen whether its runner lives


class Vigil:
    """Questions that wait for news of runs whose bucket is the folder of `site`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._wishes: list[_Wish] = []
        self._bell, self._rope = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def bell(self) -> int:
        """The descriptor that is readable when it is time to look."""
        return self._bell

    @property
    def patience(self) -> int | None:
        """Milliseconds until it is time to look anyway; None when nobody waits."""
        return int(TICK * 1000) if self._wishes else None

    def ring(self) -> None:
        """Say that there is news; called by runners, also when the agent has gone."""
        try:
            os.write(self._rope, b"!")
        except OSError:  # nobody listens any more, or has yet to hear so many
            return

    def leave(self) -> None:
        """Let a fork, which only rings, hold nothing else."""
        os.close(self._bell)
        self._wishes = []

    def keep(self, number: int, words: Mapping[str, Any], *, starter: Starter) -> None:
        """Keep a question: an `id`, the `attempt`, `beat`, `waits` and `pieces` that are known.

        It is answered after the seconds `within` in any case.
        """
        control = Control(self._site.bucket())
        until = monotonic() + float(words["within"])
        self._wishes.append(_Wish(number, words["id"], words, control, starter, until))

    def news(self) -> Iterator[tuple[int, Answer]]:
        """Yield the answers that are due, each with the number of its question."""
        with suppress(BlockingIOError):
            os.read(self._bell, 4096)
        for wish in list(self._wishes):
            answer = self._answer(wish)
            if answer is not None:
                self._wishes.remove(wish)
                yield wish.number, answer

    def _answer(self, wish: _Wish) -> Answer | None:
        """Return the answer to a question; None while there is none."""
        now = monotonic()
        look, late = self._site.look(wish.id), now >= wish.until
        waited = now - wish.looked >= ALIVE
        if look == wish.seen and not (late or waited):
            return None
        first, wish.seen = not wish.looked, look
        gone = False
        if waited:
            wish.looked = now
            gone = not first and not wish.starter.alive(wish.id)
        state = wish.control.state(wish.id)
        if state is None:
            return {"gone": True, "sizes": []}, b""
        state = wish.starter.seen(wish.id, state)
        if not (late or gone or state.over or _is_news(state, wish.words)):
            return None
        return _told(state, wish, gone=gone and not state.over)


def _is_news(state: State, words: Mapping[str, Any]) -> bool:
    if not words["attempt"] and state.phase == "queued" and not state.waits:
        return False  # as whoever had it started knows
    known = (words["attempt"], words["beat"], words["waits"])
    return (state.attempt, state.beat, state.waits) != known or state.chunks > words["pieces"]


def _told(state: State, wish: _Wish, *, gone: bool) -> Answer:
    """Return a state, and the pieces of its log that are not known yet, as far as they fit."""
    parts = [encode(state)]
    known = wish.words["pieces"] if state.attempt == wish.words["attempt"] else 0
    total = 0
    for number in range(known, state.chunks):
        piece = wish.control.log(wish.id, number) or b""
        total += len(piece)
        if total > MOST and len(parts) > 1:
            break
        parts.append(piece)
    return {"gone": gone, "sizes": [len(part) for part in parts]}, b"".join(parts)
