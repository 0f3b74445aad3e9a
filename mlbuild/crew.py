"""Crew: processes that each bring one task at a time to its end.

Processes and not threads: an action costs its engine some two hundred system calls, and threads
would hand the interpreter's lock to each other at every one of them. A member is a fork of this
process, so it knows the plan already; orders and answers go through two pipes, as bytes.

A member ends when its pipe of orders closes, and ends its command first when it gets SIGTERM, which
the kernel sends when this process dies in whatever way.
"""

import gc
import os
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from mlbuild.core.action import Action
from mlbuild.core.event import Failure
from mlbuild.errors import Interrupted
from mlbuild.exec.prctl import adopt_orphans, follow_parent
from mlbuild.frames import receive, send
from mlbuild.tasks import (
    Answer,
    Asking,
    Done,
    Failed,
    LostInput,
    Task,
    answer_from,
    packed_answer,
    packed_task,
    task_from,
)
from mlbuild.worker import Worker

_GO = b"go"


@dataclass(frozen=True, slots=True)
class Member:
    """One process, as we see it."""

    pid: int
    orders: int  # descriptor that we write to
    answers: int  # descriptor that we read from


class Crew:
    """At most `most` members, each hired when there is work for it."""

    def __init__(self, worker: Worker, actions: Mapping[str, Action], *, most: int) -> None:
        self._worker = worker
        self._actions = actions
        self._most = most
        self._members: dict[int, Member] = {}  # by descriptor of answers
        self._idle: list[Member] = []
        self._busy: dict[str, Member] = {}  # by action
        self._old: set[int] = set()  # pids of members that know an earlier state of the sources
        self._ended: list[int] = []  # pids to be waited for
        self._poll = select.poll()
        self._others: dict[int, int] = {}  # pipes of a process that is none of us

    def has_room(self) -> bool:
        """Say whether somebody is idle or can be hired."""
        return bool(self._idle) or len(self._members) < self._most

    def assign(self, task: Task) -> None:
        """Give `task` to a member; what comes of it is among the answers."""
        member = self._idle.pop() if self._idle else self._hire()
        self._busy[task.action.id] = member
        with suppress(BrokenPipeError):  # dead: its pipe of answers says so
            send(member.orders, packed_task(task))

    def grant(self, id_: str, *, go: bool) -> None:
        """Let an action that has asked begin, or give up."""
        with suppress(BrokenPipeError):
            send(self._busy[id_].orders, _GO if go else b"")

    def answers(self, *, wait: bool) -> Iterator[Answer]:
        """Yield what members have to say; with `wait`, wait until one of them has."""
        for fd, _ in self._poll.poll(None if wait else 0):
            member = self._members.get(fd)
            if member is None:  # let go meanwhile, or none of us
                continue
            message = receive(fd)
            if message is None:
                yield from self._mourn(member)
                continue
            answer = answer_from(message)
            if isinstance(answer, (Done, Failed, LostInput)):
                del self._busy[answer.id]
                if member.pid in self._old:
                    self._let_go(member)
                else:
                    self._idle.append(member)
            yield answer

    def heed(self, answers: int, *, orders: int) -> None:
        """End waiting when the pipe `answers` has something too; let no member hold these two."""
        self._poll.register(answers, select.POLLIN)
        self._others[answers] = orders

    def ignore(self, answers: int) -> None:
        """Wait no more for a pipe that `heed` was told of."""
        self._poll.unregister(answers)
        del self._others[answers]

    def renew(self) -> None:
        """Have what comes next done by members that know the sources as they are now."""
        self._old.update(member.pid for member in self._members.values())
        while self._idle:
            self._let_go(self._idle.pop())

    def cancel(self) -> None:
        """End every running command and all waiting."""
        for member in self._members.values():
            os.kill(member.pid, signal.SIGTERM)
        for member in self._busy.values():
            with suppress(BrokenPipeError):
                send(member.orders, b"")

    def dismiss(self) -> None:
        """Let all members go; they make durable what they wrote."""
        for member in list(self._members.values()):
            self._let_go(member)

    def join(self) -> None:
        """Wait until those who were let go have ended."""
        while self._ended:
            with suppress(ChildProcessError):
                os.waitpid(self._ended[-1], 0)
            self._ended.pop()

    def _hire(self) -> Member:
        if not self._members:
            adopt_orphans()
        orders, answers = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(orders[1])
            os.close(answers[0])
            for other in self._members.values():  # else a pipe would stay open without us
                os.close(other.orders)
                os.close(other.answers)
            for fd in (*self._others, *self._others.values()):
                os.close(fd)
            _serve(self._worker, self._actions, parent, orders=orders[0], answers=answers[1])
        os.close(orders[0])
        os.close(answers[1])
        member = Member(pid, orders[1], answers[0])
        self._members[member.answers] = member
        self._poll.register(member.answers, select.POLLIN)
        return member

    def _let_go(self, member: Member) -> None:
        del self._members[member.answers]
        self._old.discard(member.pid)
        self._poll.unregister(member.answers)
        os.close(member.orders)
        os.close(member.answers)
        self._ended.append(member.pid)

    def _mourn(self, member: Member) -> Iterator[Answer]:
        """Say what became of the task of a member that died."""
        self._let_go(member)
        self._ended.remove(member.pid)
        _, status = os.waitpid(member.pid, 0)
        self._worker.clear_up(member.pid)
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._idle = [one for one in self._idle if one is not member]
        for id_, busy in list(self._busy.items()):
            if busy is member:
                del self._busy[id_]
                failure = Failure(f"the process of mlbuild that cared for it {how}", "host")
                yield Failed(id_, "", failure)


def _serve(
    worker: Worker, actions: Mapping[str, Action], parent: int, *, orders: int, answers: int
) -> NoReturn:
    """Do what is ordered until the orders end: the whole life of a member."""
    code = 1
    try:
        gc.freeze()  # what is shared stays shared: nothing of it is garbage
        for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal; our parent decides
            signal.signal(number, signal.SIG_IGN)
        worker.move_in()
        signal.signal(signal.SIGTERM, lambda *_: worker.cancel())
        follow_parent(parent, signal.SIGTERM)

        def tell(answer: Answer) -> None:
            send(answers, packed_answer(answer))

        def ask(id_: str) -> None:
            tell(Asking(id_))
            if receive(orders) != _GO:
                raise Interrupted("the build was interrupted")

        while order := receive(orders):
            tell(worker.work(task_from(order, actions), tell=tell, ask=ask))
        worker.move_out()
        code = 0
    except BrokenPipeError:  # nobody listens any more
        worker.move_out()
    finally:
        os._exit(code)  # not through what our parent would do at its end
