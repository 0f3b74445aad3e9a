"""Link: a connection to the agent of another machine, through the pipes of a process of ours."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import Condition, Lock
from typing import Any

from mlbuild.errors import HostError
from mlbuild.remote import baggage
from mlbuild.remote.frames import hear, say
from mlbuild.remote.outage import Cut
from mlbuild.shared.base import Object, SharedTrouble

OLDEST = "3.11"


class Link:
    """Asks an agent, and hears its answers; for any number of threads.

    `where` is what a user calls the machine, `why` says why the connection ended, `end` waits for
    the process behind the pipes. Questions are sent without waiting for earlier answers, which come
    in the same order.
    """

    def __init__(
        self,
        orders: int,
        answers: int,
        *,
        where: str,
        why: Callable[[], HostError],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.where = where
        self._orders = orders
        self._answers = answers
        self._why = why
        self._end = end
        self._asking = Lock()
        self._turn = Condition()
        self._asked = 0
        self._heard = 0
        self._cut: HostError | None = None

    def greet(self) -> None:
        """Have the agent installed where it is not; return when it answers.

        Raises HostError where that cannot be.
        """
        hello = self._next()
        if hello.get("old"):
            raise HostError(
                f"`{self.where}` has Python {hello.get('python')}, and the runner needs {OLDEST}",
                hints=(f"install Python {OLDEST} or later there, or say where it is: `python`",),
            )
        if not hello.get("have"):
            content, packages = baggage.packed(str(hello.get("kind")))
            with suppress(BrokenPipeError):
                say(self._orders, {"packages": packages}, content)
        ready = self._next()
        if failed := ready.get("failed"):
            full = f"the disk of `{self.where}` is full: {failed}"
            hints = () if ready.get("full") else (_cure(hello),)
            raise HostError(
                full if ready.get("full") else f"the runner cannot be installed: {failed}",
                hints=hints,
            )

    def _next(self) -> dict[str, Any]:
        frame = self._hear()
        return frame[0]

    def ask(
        self, question: str, words: Mapping[str, Any], *, content: bytes = b""
    ) -> tuple[Mapping[str, Any], bytes]:
        """Return what the agent answers: words, and bytes.

        Raises SharedTrouble and HostError as it does, and Cut when the connection ends.
        """
        with self._asking:
            if self._cut is not None:
                raise self._cut
            number = self._asked
            self._asked += 1
            with suppress(BrokenPipeError):  # its answer says so
                say(self._orders, {**words, "ask": question}, content)
        with self._turn:
            self._turn.wait_for(lambda: self._heard == number)
        try:
            found, answer = self._hear()
        finally:
            with self._turn:
                self._heard += 1
                self._turn.notify_all()
        if "trouble" in found:
            raise SharedTrouble(found["trouble"], found["message"], cure=found["cure"])
        if "error" in found:
            message, hints = str(found["error"]), tuple(map(str, found["hints"]))
            raise HostError(f"`{self.where}`: {message}", hints=hints)
        return found, answer

    def _hear(self) -> tuple[dict[str, Any], bytes]:
        if self._cut is not None:
            raise self._cut
        try:
            frame = hear(self._answers)
        except (OSError, ValueError):
            frame = None
        if frame is None:
            self._cut = self._why()
            raise self._cut
        return frame

    def close(self) -> None:
        """End the connection; what the agent has started goes on."""
        if self._cut is None:
            self._cut = Cut(f"the connection to `{self.where}` is closed")
        for fd in (self._orders, self._answers):
            if fd >= 0:
                os.close(fd)
        self._orders = self._answers = -1
        self._end()


class FarBucket:
    """The Bucket of the machine at the other end of a link.

    `before` is called before each write; it ends long transfers by raising.
    """

    def __init__(self, link: Link, *, before: Callable[[], None] = lambda: None) -> None:
        self._link = link
        self._before = before

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return `size` bytes from `start` (-1: all); None when there is no object."""
        found, content = self._link.ask(
            "read", {"name": name, "start": start, "size": size, "limit": limit}
        )
        if 0 <= limit < len(content):
            raise SharedTrouble("damaged", f"`{name}` has more than {limit} bytes")
        return content if found["found"] else None

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep `content` under `name`; with `fresh`, only where nothing is, else return False."""
        self._before()
        found, _ = self._link.ask("write", {"name": name, "fresh": fresh}, content=content)
        return bool(found["written"])

    def names(self, prefix: str) -> Iterator[Object]:
        """Yield all objects whose names begin with `prefix`."""
        found, _ = self._link.ask("names", {"prefix": prefix})
        for name, size, modified in found["names"]:
            yield Object(name, size, modified)

    def remove(self, names: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        self._link.ask("remove", {"names": names})

    def close(self) -> None:
        """Do nothing: the link is its owner's."""


def _cure(hello: Mapping[str, Any]) -> str:
    needed = " and ".join(f"`{name}`" for name in baggage.COMPILED)
    return (
        f"use a Python of the kind {baggage.own_kind()} there (it is {hello.get('kind')}), "
        f"or let pip install {needed}"
    )
