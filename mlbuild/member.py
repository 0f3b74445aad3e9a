"""Member: the life of one process of the crew, from its fork to its end.

It does what it is ordered until its pipe of orders closes. It ends its commands when it gets
SIGTERM, which the kernel sends too when the process that hired it dies in whatever way; what runs
on another machine is then left alone.
"""

import gc
import os
import select
import signal
from collections.abc import Mapping
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import NoReturn

from mlbuild.core.action import Action
from mlbuild.errors import Interrupted
from mlbuild.exec.prctl import follow_parent
from mlbuild.frames import receive, send
from mlbuild.remote.parent import is_gone
from mlbuild.tasks import Answer, Asking, Grant, Task, order_from, packed_answer
from mlbuild.worker import Worker


def serve(
    worker: Worker,
    actions: Mapping[str, Action],
    parent: int,
    *,
    orders: int,
    answers: int,
    many: bool,
) -> NoReturn:
    """Do what the pipe `orders` says, and tell the pipe `answers`; then end this process.

    `many` tasks at once, a thread for each, or one after the other.
    """
    code = 1
    try:
        gc.freeze()  # what is shared stays shared: nothing of it is garbage
        for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal; our parent decides
            signal.signal(number, signal.SIG_IGN)
        worker.move_in()
        kind = _Many if many else _One
        kind(worker, actions, parent, orders=orders, answers=answers).live()
        worker.move_out()
        code = 0
    except BrokenPipeError:  # nobody listens any more
        worker.move_out()
    finally:
        os._exit(code)  # not through what our parent would do at its end


class _One:
    """A member that does one task after the other, in its main thread."""

    def __init__(
        self,
        worker: Worker,
        actions: Mapping[str, Action],
        parent: int,
        *,
        orders: int,
        answers: int,
    ) -> None:
        self._worker = worker
        self._actions = actions
        self._orders = orders
        self._answers = answers
        signal.signal(signal.SIGTERM, lambda *_: worker.cancel())
        follow_parent(parent, signal.SIGTERM)

    def live(self) -> None:
        """Work until the orders end."""
        while (message := receive(self._orders)) is not None:
            order = order_from(message, self._actions)
            if isinstance(order, Task):  # else it had been asked for before all was cancelled
                self._tell(self._worker.work(order, tell=self._tell, ask=self._ask))

    def _tell(self, answer: Answer) -> None:
        send(self._answers, packed_answer(answer))

    def _ask(self, id_: str) -> None:
        self._tell(Asking(id_))
        message = receive(self._orders)
        grant = order_from(message, self._actions) if message else None
        if not (isinstance(grant, Grant) and grant.go):
            raise Interrupted("the build was interrupted")


class _Many:
    """A member with a thread for each task: what they do is to wait for other machines.

    The main thread hears orders and signals, and does nothing else: so it is never inside of
    something that a signal must not interrupt.
    """

    def __init__(
        self,
        worker: Worker,
        actions: Mapping[str, Action],
        parent: int,
        *,
        orders: int,
        answers: int,
    ) -> None:
        self._worker = worker
        self._actions = actions
        self._parent = parent
        self._orders = orders
        self._answers = answers
        self._telling = Lock()
        self._grants: dict[str, SimpleQueue[bool]] = {}  # by action
        self._signals, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGTERM, lambda *_: _poke(wake))
        follow_parent(parent, signal.SIGTERM)

    def live(self) -> None:
        """Work until the orders end."""
        ears = select.poll()
        ears.register(self._orders, select.POLLIN)
        ears.register(self._signals, select.POLLIN)
        while True:
            heard = {fd for fd, _ in ears.poll()}
            if self._signals in heard:
                os.read(self._signals, 1)
                self._end()
            if self._orders in heard:
                message = receive(self._orders)
                if message is None:
                    if self._grants:  # nobody waits for what is under way: it goes on there
                        os._exit(0)
                    return
                self._obey(order_from(message, self._actions))

    def _end(self) -> None:
        """End all commands; leave them alone where nobody asked for that: our parent was killed."""
        if is_gone(self._parent):
            os._exit(0)
        self._worker.cancel()

    def _obey(self, order: Task | Grant) -> None:
        if isinstance(order, Task):
            self._grants[order.action.id] = SimpleQueue()
            Thread(target=self._work, args=(order,), name=order.action.id, daemon=True).start()
        elif order.id in self._grants:
            self._grants[order.id].put(order.go)

    def _work(self, task: Task) -> None:
        with suppress(BrokenPipeError):  # nobody listens: the main thread hears of it too
            answer = self._worker.work(task, tell=self._tell, ask=self._ask)
            self._grants.pop(task.action.id, None)
            self._tell(answer)

    def _tell(self, answer: Answer) -> None:
        message = packed_answer(answer)
        with self._telling:
            send(self._answers, message)

    def _ask(self, id_: str) -> None:
        self._tell(Asking(id_))
        if not self._grants[id_].get():
            raise Interrupted("the build was interrupted")


def _poke(pipe: int) -> None:
    with suppress(BlockingIOError):  # full: it will wake up anyway
        os.write(pipe, b"!")
