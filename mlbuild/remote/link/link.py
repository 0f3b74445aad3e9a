"""Link: a connection to the agent of another machine, through the pipes of a process of ours."""

import os
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any

from mlbuild.errors import HostError
from mlbuild.remote.link import baggage
from mlbuild.remote.link.answers import checked
from mlbuild.remote.link.frames import hear, say
from mlbuild.remote.link.greeting import greeting
from mlbuild.remote.outage import Cut, Outage, full_disk
from mlbuild.shared.base import Object, SharedTrouble

OLDEST = "3.11"
STARTS_WITHIN = 60.0  # seconds that a host has to start our program once it has let us in
_INSTALLS_WITHIN = 600.0  # likewise to install it, which may take pip
_SILENCE = 300.0  # seconds without a byte after which nobody waits for an answer any more
_FAREWELL = 3.0  # seconds that who writes a question has to end that

Frame = tuple[dict[str, Any], bytes]


class Link:
    """Asks an agent, and hears its answers; for any number of threads.

    `where` is what a user calls the machine, `why` says why the connection ended, `end` waits for
    the process behind the pipes. Questions are sent without waiting for earlier answers. Each has a
    number that its answer bears, so one that takes long holds up no other.
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
        os.set_blocking(orders, False)
        self._orders = orders
        self._answers = answers
        self._why = why
        self._end = end
        self._door = Lock()  # to the pipe of orders, and to what follows
        self._asked = 0
        self._waiting: dict[int, SimpleQueue[Frame | None]] = {}  # by question
        self._ear: Thread | None = None  # hears all answers, once there are questions
        self._cut: HostError | None = None
        self._open = Lock()  # free until somebody closes it
        self._heard = 0.0  # when bytes came last, by the clock of `monotonic`
        self.written = 0  # objects that it has carried

    def greet(self) -> None:
        """Have the agent installed where it is not; return when it answers.

        Raises HostError where that cannot be.
        """
        self._begin()
        hello = self._next(STARTS_WITHIN)
        if hello.get("old"):
            raise HostError(
                f"`{self.where}` has Python {hello.get('python')}, and the runner needs {OLDEST}",
                hints=(f"install Python {OLDEST} or later there, or say where it is: `python`",),
            )
        if not hello.get("have"):
            content, packages = baggage.packed(str(hello.get("kind")))
            self._write({"packages": packages}, content)
        ready = self._next(_INSTALLS_WITHIN)
        if ready.get("full"):
            raise full_disk(self.where)
        if failed := ready.get("failed"):
            raise HostError(
                f"the runner cannot be installed on `{self.where}`: {failed}",
                hints=(_cure(hello),) if ready.get("lacks") else (),
            )

    def _begin(self) -> None:
        """Pass over what the login shell prints until our own program speaks."""
        found = greeting(self._answers, seconds=STARTS_WITHIN)
        if found.marked:
            return
        said = f"; its login shell says: {found.noise}" if found.noise else ""
        if found.silent:
            self._cut = Outage(
                f"`{self.where}` lets us in, but does not start our program{said}",
                hints=(f"`ssh {self.where} true` must end by itself and print little",),
            )
        else:
            why = self._why()
            self._cut = type(why)(f"{why.message}{said}", hints=why.hints)
        raise self._cut

    def _next(self, seconds: float) -> dict[str, Any]:
        """Return the next words, which must begin within so many seconds."""
        ear = select.poll()
        ear.register(self._answers, select.POLLIN)
        if not ear.poll(seconds * 1000):
            raise self._silent()
        return self._hear()[0]

    def ask(
        self, question: str, words: Mapping[str, Any], *, content: bytes = b""
    ) -> tuple[Mapping[str, Any], bytes]:
        """Return what the agent answers: words, and bytes.

        Raises SharedTrouble and HostError as it does, and Cut when the connection ends.
        """
        answers: SimpleQueue[Frame | None] = SimpleQueue()
        number = self._say(question, words, content, answers)
        try:
            frame = self._awaited(answers)
        finally:
            self._waiting.pop(number, None)
        if frame is None:
            assert self._cut is not None, "nobody else gives up"
            raise self._cut
        answer = frame[1]
        try:
            found = checked(question, frame[0])
        except ValueError as error:
            raise self._strange(error) from error
        if "trouble" in found:
            raise SharedTrouble(found["trouble"], found["message"], cure=found["cure"])
        if "error" in found:
            message, hints = str(found["error"]), tuple(map(str, found["hints"]))
            raise HostError(f"`{self.where}`: {message}", hints=hints)
        return found, answer

    def _awaited(self, answers: "SimpleQueue[Frame | None]") -> Frame | None:
        """Return an answer, None for the end of all; raise Cut where nobody says anything more."""
        since = monotonic()
        while True:
            left = max(since, self._heard) + _SILENCE - monotonic()
            if left <= 0:
                raise self._silent()
            with suppress(Empty):
                return answers.get(timeout=left)

    def _silent(self) -> HostError:
        """Give up somebody who has not said anything for long."""
        self._cut = self._cut or Cut(f"`{self.where}` does not answer any more")
        return self._cut

    def tell(self, question: str, words: Mapping[str, Any]) -> None:
        """Ask without waiting for the answer; it is done before what is asked later.

        Raises Cut when the connection has ended.
        """
        self._say(question, words, b"", None)

    def _say(
        self,
        question: str,
        words: Mapping[str, Any],
        content: bytes,
        answers: "SimpleQueue[Frame | None] | None",
    ) -> int:
        """Send a question whose answer is to get into `answers`; return its number."""
        with self._door:
            if self._cut is not None:
                raise self._cut
            self._asked += 1
            if answers is not None:
                self._waiting[self._asked] = answers
            if self._ear is None:
                self._ear = Thread(target=self._listen, name=f"ear of {self.where}", daemon=True)
                self._ear.start()
            self._write({**words, "ask": question, "number": self._asked}, content)
            return self._asked

    def _write(self, words: Mapping[str, Any], content: bytes) -> None:
        """Send a frame; raise Cut where nobody reads it."""
        try:
            say(self._orders, words, content, within=_SILENCE)
        except BrokenPipeError:  # who hears the answers hears why
            return
        except TimeoutError as error:
            raise self._silent() from error

    def _listen(self) -> None:
        """Give each answer to who waits for it, until there are no more."""
        with suppress(HostError):
            while True:
                frame = self._hear()
                number = frame[0].get("number")
                waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
                if waiting is not None:  # else nobody waits any more
                    waiting.put(frame)
        with self._door:
            for left in list(self._waiting.values()):
                left.put(None)

    def _hear(self) -> Frame:
        if self._cut is not None:
            raise self._cut
        try:
            frame = hear(self._answers, at_each=self._note)
        except OSError:
            frame = None
        except ValueError as error:
            raise self._strange(error) from error
        if frame is None:
            raise self._ended()
        self._note()
        return frame

    def _note(self) -> None:
        """Note that somebody speaks."""
        self._heard = monotonic()

    @property
    def is_over(self) -> bool:
        """Say whether it has ended, or is not listened to any more."""
        return self._cut is not None

    def _ended(self) -> HostError:
        """Return why there is nothing more to hear: we have closed it, or else the process says."""
        if self._cut is None:
            self._cut = self._why()
        return self._cut

    def _strange(self, error: ValueError) -> HostError:
        """Hear nothing more from somebody who is none of ours, and may go on for ever."""
        self._cut = HostError(f"what `{self.where}` answers is no answer of a runner: {error}")
        return self._cut

    def close(self) -> None:
        """End the connection, the first time; what the agent has started goes on."""
        if not self._open.acquire(blocking=False):
            return
        if self._cut is None:
            self._cut = Cut(f"the connection to `{self.where}` is closed")
        # Who writes a question has the door. A number that it writes to may be that of another
        # file as soon as it is closed; and its end is certain once nobody reads at the other side.
        is_free = self._door.acquire(timeout=_FAREWELL)
        if is_free:
            self._leave_orders()
        self._end()
        if not is_free:
            self._door.acquire()
            self._leave_orders()
        self._door.release()
        if self._ear is not None:
            self._ear.join()  # there are no more answers
        self._leave_answers()

    def forsake(self) -> None:
        """Give up what a fork of us has of the connection: it stays that of the other process."""
        self._cut = Cut(f"the connection to `{self.where}` is that of another process")
        self._leave_orders()
        self._leave_answers()

    def _leave_orders(self) -> None:
        if self._orders >= 0:
            os.close(self._orders)
        self._orders = -1

    def _leave_answers(self) -> None:
        if self._answers >= 0:
            os.close(self._answers)
        self._answers = -1


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
        self._link.written += 1
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
