"""Errand: one job on its way to another machine: its order, and who follows its run."""

import os
import signal
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mlbuild import __version__
from mlbuild.core.digest import Digest
from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Execution, Gpu, Job
from mlbuild.exec.host import platform_id
from mlbuild.exec.numerics import cpu_class
from mlbuild.remote.bell import Bell
from mlbuild.remote.cargo import Cargo, cargo_of, send, send_tool
from mlbuild.remote.follow import Follower
from mlbuild.remote.jobs.book import Book
from mlbuild.remote.order import Order, Wanted, encode, order_id
from mlbuild.remote.outage import Outage
from mlbuild.remote.outputs import restore
from mlbuild.remote.session import Session
from mlbuild.remote.state import State, decode
from mlbuild.remote.terms import PROCESS, Terms
from mlbuild.store import files

_AGAIN = 3  # times that inputs are sent because they were not there


@dataclass(frozen=True, slots=True)
class Way:
    """How jobs are had run."""

    name: str  # of the executor
    where: str  # what a user calls the machine
    terms: Terms
    retries: int
    memo: str  # absolute path of a private folder for what is known of the machine
    jobs: int = 2  # that may be under way together, those that wait there included
    starter: Mapping[str, Any] = field(
        default_factory=dict
    )  # as `remote/machine/starter.py` takes it
    book: Book = field(default_factory=Book)  # of the jobs that were started from here


class Errand:
    """One job on its way. Used by one thread at a time."""

    def __init__(self, job: Job, way: Way, *, bell: Bell) -> None:
        self._job = job
        self._way = way
        self.begun = False  # whether somebody runs it, for all we know
        self._cargo = cargo_of(job)
        plain = way.terms.inside == PROCESS
        self._content = encode(_order(job, self._cargo, plain=plain))
        self.id = order_id(self._content)
        self._bell = bell
        self._follower = Follower(self.id, log=job.log, bell=bell)
        self._is_running = False
        self._sent = 0  # objects of inputs

    @property
    def heard(self) -> int:
        """What grows whenever something of it has gone on."""
        return self._follower.heard + self._sent

    def go(self, session: Session, turn: ExitStack) -> Execution:
        """Have it run, or follow the run that there is; bring what it made."""
        self._way.book.begin(self.id, self._job, executor=self._way.name, where=self._way.where)
        if not self.begun:
            self._begin(session)
        for _ in range(_AGAIN):
            self.begun = True
            state = self._followed(session, turn)
            if not (state.fault and state.fault.kind == "lacking"):
                break
            if state.fault.trees:
                session.forget()
            for name in state.fault.tools:
                self._send_tool(name, session)
            self._send([Digest(*tree) for tree in state.fault.trees], session)
            self._begin(session)
        turn.close()
        execution = self._outcome(state, session)
        self.begun = False
        return execution

    def cancel(self, session: Session) -> None:
        """Ask its run to end; return without waiting for that."""
        session.link.tell("cancel", self._words())

    def take(self, session: Session) -> None:
        """Say that its outcome is safe here: who orders the same from now on wants another run."""
        session.link.tell("take", self._words())

    def _words(self) -> dict[str, Any]:
        """Return what goes with each question about it."""
        starter = dict(self._way.starter)
        return {"id": self.id, "store": self._way.terms.store, "starter": starter}

    def _begin(self, session: Session) -> None:
        """Have it run, unless it does; send what is missing there before."""
        lacks = self._begun(list(self._cargo.sources), session)
        if lacks:
            self._send(lacks, session)
            self._begun([], session)

    def _begun(self, trees: list[Digest], session: Session) -> list[Digest]:
        """Have a runner started where all of `trees` are there; return those that are not."""
        words = {
            **self._words(),
            "trees": [[tree.hash, tree.size] for tree in trees],
            "attempt": uuid.uuid4().hex,
            "slots": self._way.terms.slots,
            "inside": self._way.terms.inside,
            "env": dict(self._job.caller_env),
        }
        found, _ = session.link.ask("begin", words, content=self._content)
        return [Digest(*tree) for tree in found["lacks"]]

    def _send(self, trees: list[Digest], session: Session) -> None:
        before = session.written
        try:
            for tree in trees:
                if tree in self._cargo.sources:
                    with session.sending(tree):
                        send(tree, self._cargo.sources[tree], self._job, freight=session.freight)
        finally:
            self._sent += session.written - before

    def _send_tool(self, name: str, session: Session) -> None:
        """Send a tool that the machine lacks."""
        tool = self._job.tools.get(name)
        if tool is None or not os.path.isfile(tool.root):
            raise HostError(f"`{self._way.where}` lacks the tool `{name}`, which does not travel")
        tree, path = send_tool(tool, freight=session.freight)
        session.control.keep_tool(tool.content, tree, path=path)

    def _followed(self, session: Session, turn: ExitStack) -> State:
        """Return the last state of its run, once that is over."""
        hear = partial(self._hear, turn=turn)
        link, words = session.link, self._words()
        if session.has_bucket_there:
            return self._follower.attend(
                lambda known: link.ask("await", {**words, **known}),
                hear=hear,
                cancel=partial(self.cancel, session),
            )
        return self._follower.follow(
            session.control,
            hear=hear,
            alive=lambda: bool(link.ask("alive", words)[0]["alive"]),
            cancel=partial(self.cancel, session),
            seen=partial(self._seen, session),
        )

    def _seen(self, session: Session) -> State | None:
        """Return its state as the engine there knows it, None where nothing schedules runs."""
        if not self._way.starter:
            return None
        rows = session.link.ask("states", {**self._words(), "ids": [self.id]})[0]["rows"]
        state = decode(rows[0][3].encode()) if rows else None
        # A runner that has gone without a word is found out by `alive`.
        return state if state is not None and (rows[0][4] or state.over) else None

    def _hear(self, state: State, *, turn: ExitStack) -> None:
        if state.phase == "running" and not self._is_running:
            self._is_running = True
            turn.enter_context(self._job.turn)
        elif state.phase == "queued" and state.waits:
            self._job.wait(state.waits)

    def _outcome(self, state: State, session: Session) -> Execution:
        """Return how it ended, with what it made; raise what kept it from that."""
        self._way.book.forget(self.id)
        out = f"{self._job.scratch}/out"
        if state.phase == "cancelled":
            if not self._bell.has_rung():
                raise HostError(f"somebody cancelled it on `{self._way.where}`")
            return Execution(out, None, signal.SIGTERM, interrupted=True)
        if fault := state.fault:
            if fault.kind == "input":  # it stands, as an outcome does, until somebody has it
                self.take(session)
            kinds = {"input": InputError, "outage": Outage, "lacking": Outage}
            raise kinds.get(fault.kind, HostError)(fault.message, hints=fault.hints)
        if state.key != self._job.key:
            raise HostError(f"`{self._way.where}` has the result of another action in its place")
        files.remove(out)
        os.mkdir(out, 0o755)
        if session.freight.bring(Digest(*state.tree), out) is None:
            self.take(session)  # else the next try would find the same
            raise Outage(f"what ran on `{self._way.where}` left outputs that have vanished")
        restore(state.odd, out)
        gpus = tuple(Gpu(*gpu) for gpu in state.gpus)
        return _execution(state.ended, out, gpus=gpus, resumed=state.resumed)


def _order(job: Job, cargo: Cargo, *, plain: bool) -> Order:
    run = job.run
    action = replace(job.action, does=run)
    return Order(
        job.key,
        __version__,
        action,
        cargo.items,
        {name: Wanted(tool.content, tool.mount) for name, tool in job.tools.items()},
        platform_id(),
        cpu_class() if run.determinism == "bitwise" else "",
        checkpoint=bool(job.checkpoint),
        plain=plain,
        nonce="" if job.key else uuid.uuid4().hex,
    )


def _execution(
    said: Mapping[str, Any], out: str, *, gpus: tuple[Gpu, ...], resumed: bool
) -> Execution:
    code = said.get("exit_code")
    return Execution(
        out,
        int(code) if code is not None else None,
        signal=int(said.get("signal", 0)),
        timed_out=bool(said.get("timed_out")),
        out_of_memory=bool(said.get("out_of_memory")),
        interrupted=bool(said.get("interrupted")),
        seconds=float(said.get("seconds", 0.0)),
        cpu_seconds=float(said.get("cpu_seconds", 0.0)),
        peak_memory=int(said.get("peak_memory", 0)),
        gpus=gpus,
        resumed=resumed,
    )
