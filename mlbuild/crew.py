"""Crew: processes that bring tasks to their ends.

Processes and not threads: an action costs its engine some two hundred system calls, and threads
would hand the interpreter's lock to each other at every one of them. A member is a fork of this
process, so it knows the plan already; orders and answers go through two pipes, as bytes. What a
member does is in `member.py`.

Where commands run on other machines a task is mostly waiting, and there may be hundreds: then there
is one member, which has a thread for each task and one connection for all of them.
"""

import os
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mlbuild.core.action import Action
from mlbuild.core.event import Failure
from mlbuild.exec.prctl import adopt_orphans
from mlbuild.frames import receive, send
from mlbuild.member import serve
from mlbuild.tasks import (
    Answer,
    Done,
    Failed,
    Grant,
    LostInput,
    Task,
    answer_from,
    packed_grant,
    packed_task,
)
from mlbuild.worker import Worker


@dataclass(frozen=True, slots=True)
class Member:
    """One process, as we see it."""

    pid: int
    orders: int  # descriptor that we write to
    answers: int  # descriptor that we read from


class Crew:
    """Members that have at most `most` tasks together, each hired when there is work for it."""

    def __init__(self, worker: Worker, actions: Mapping[str, Action], *, most: int) -> None:
        self._worker = worker
        self._actions = actions
        self._most = most
        self._each = most if worker.is_away else 1  # tasks that a member has at once
        self._members: dict[int, Member] = {}  # by descriptor of answers
        self._free: list[Member] = []  # who can take another task
        self._busy: dict[str, Member] = {}  # by action
        self._old: set[int] = set()  # pids of members that know an earlier state of the sources
        self._ended: list[int] = []  # pids to be waited for
        self._poll = select.poll()
        self._others: dict[int, int] = {}  # pipes of a process that is none of us

    def has_room(self) -> bool:
        """Say whether somebody can take a task, or be hired for it."""
        return len(self._busy) < self._most

    def assign(self, task: Task) -> None:
        """Give `task` to a member; what comes of it is among the answers."""
        member = self._free[-1] if self._free else self._hire()
        self._busy[task.action.id] = member
        if self._load(member) == self._each:
            self._free.remove(member)
        with suppress(BrokenPipeError):  # dead: its pipe of answers says so
            send(member.orders, packed_task(task))

    def grant(self, id_: str, *, go: bool) -> None:
        """Let an action that has asked begin, or give up."""
        with suppress(BrokenPipeError):
            send(self._busy[id_].orders, packed_grant(Grant(id_, go)))

    def _load(self, member: Member) -> int:
        """Return how many tasks a member has."""
        return sum(1 for one in self._busy.values() if one is member)

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
                self._relieve(member)
            yield answer

    def _relieve(self, member: Member) -> None:
        """Have a member that ended a task wait for the next, unless what it knows is old."""
        if member.pid not in self._old:
            if member not in self._free:
                self._free.append(member)
        elif not self._load(member):
            self._let_go(member)

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
        self._free = []
        for member in list(self._members.values()):
            if not self._load(member):
                self._let_go(member)

    def cancel(self) -> None:
        """End every running command and all waiting."""
        for member in self._members.values():
            os.kill(member.pid, signal.SIGTERM)
        for id_, member in self._busy.items():
            with suppress(BrokenPipeError):
                send(member.orders, packed_grant(Grant(id_, go=False)))

    def abandon(self) -> bool:
        """Leave what runs elsewhere to itself, for whoever asks for it again; False where none is.

        Nobody answers any more: the tasks that were under way have no end.
        """
        if self._each == 1:
            return False
        for member in list(self._members.values()):
            os.kill(member.pid, signal.SIGKILL)
            self._bury(member)
        self._busy = {}
        return True

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
            serve(
                *(self._worker, self._actions, parent),
                orders=orders[0],
                answers=answers[1],
                many=self._each > 1,
            )
        os.close(orders[0])
        os.close(answers[1])
        member = Member(pid, orders[1], answers[0])
        self._members[member.answers] = member
        self._free.append(member)
        self._poll.register(member.answers, select.POLLIN)
        return member

    def _let_go(self, member: Member) -> None:
        self._forget(member)
        self._ended.append(member.pid)

    def _forget(self, member: Member) -> None:
        del self._members[member.answers]
        self._free = [one for one in self._free if one is not member]
        self._old.discard(member.pid)
        self._poll.unregister(member.answers)
        os.close(member.orders)
        os.close(member.answers)

    def _bury(self, member: Member) -> int:
        """Clear up after a member that is dead or about to be; return its exit code."""
        self._forget(member)
        _, status = os.waitpid(member.pid, 0)
        self._worker.clear_up(member.pid)
        return os.waitstatus_to_exitcode(status)

    def _mourn(self, member: Member) -> Iterator[Answer]:
        """Say what became of the tasks of a member that died."""
        code = self._bury(member)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        for id_, busy in list(self._busy.items()):
            if busy is member:
                del self._busy[id_]
                failure = Failure(f"the process of mlbuild that cared for it {how}", "host")
                yield Failed(id_, "", failure)
