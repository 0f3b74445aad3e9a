"""Elsewhere: the executor that has jobs run by another machine, which it reaches by links.

How a link comes about is its opener's (`ssh.py`). A job that runs there already is followed, not
started again: so a build that was killed goes on where it was.
"""

import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mlbuild import __version__
from mlbuild.core.digest import Digest
from mlbuild.errors import HostError, InputError, Interrupted, MlbuildError
from mlbuild.exec.base import Execution, Gpu, Job
from mlbuild.exec.host import platform_id
from mlbuild.exec.numerics import cpu_class
from mlbuild.remote.bell import Bell
from mlbuild.remote.cargo import Cargo, cargo_of, send, send_tool
from mlbuild.remote.control import Control
from mlbuild.remote.facts import Facts, facts_from
from mlbuild.remote.follow import Follower
from mlbuild.remote.freight import Freight, bucket_at, freight_in
from mlbuild.remote.link import FarBucket, Link
from mlbuild.remote.order import Order, Wanted, encode, order_id
from mlbuild.remote.outage import Cut, Outage, bucket_troubles
from mlbuild.remote.outputs import restore
from mlbuild.remote.state import State
from mlbuild.remote.terms import Terms
from mlbuild.shared.base import Bucket
from mlbuild.store import files

BACK_OFF = 1.0  # seconds before the second try; each later one waits twice as long
LONGEST = 30.0
CUTS = 6  # connections that may be lost one after the other without anything new heard
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


class Elsewhere:
    """An executor whose jobs run on another machine. `connect` opens a new link to it."""

    def __init__(self, way: Way, connect: Callable[[], Link]) -> None:
        self.name = way.name
        self.hermetic = way.terms.inside != "process"
        self.where = way.where
        self.jobs = way.jobs
        self._way = way
        self._connect = connect
        self._bell = Bell()
        self._owner = 0  # the process that our links are of
        self._parent = 0
        self._idle: list[_Session] = []
        self._facts: Facts | None = None
        self._found: tuple[Gpu, ...] | None = None

    # what the machine is

    def facts(self) -> Facts:
        """Return what the machine says of itself; asked for once."""
        if self._facts is None:
            with self._session() as session:
                found, _ = session.link.ask("facts", {})
                self._facts = facts_from(found["facts"])
        return self._facts

    def gpus(self) -> tuple[Gpu, ...]:
        """Return its GPUs; asked for once."""
        if self._found is None:
            with self._session() as session:
                found, _ = session.link.ask("gpus", {})
                self._found = tuple(Gpu(*gpu) for gpu in found["gpus"])
        return self._found

    def insides(self) -> Mapping[str, Any]:
        """Return what can run commands there: `sandbox` and `docker`, version and why not."""
        with self._session() as session:
            return session.link.ask("insides", {})[0]

    # the executor

    def run(self, job: Job) -> Execution:
        """Have the command of `job` run to its end; raise HostError where that cannot be."""
        out = f"{job.scratch}/out"
        if self._bell.has_rung():
            return Execution(out, None, signal.SIGTERM, interrupted=True)
        if job.streams is not None or job.keep:
            what = "talked with" if job.streams is not None else "kept for a look"
            raise HostError(
                f"what runs on `{self.where}` cannot be {what} from here",
                hints=("run it with `--executor sandbox`",),
            )
        if os.getpid() != self._owner:
            self._parent = os.getppid()
        errand = _Errand(job, self._way, bell=self._bell)
        tried = 0
        while True:
            try:
                with ExitStack() as turn:
                    return self._tried(errand, turn)
            except KeyboardInterrupt:  # where the main process itself is at work
                self._forsake(errand)
                raise
            except Outage as outage:
                if self._bell.has_rung():
                    return Execution(out, None, signal.SIGTERM, interrupted=True)
                if tried >= self._way.retries:
                    raise self._last(outage, tried) from outage
                tried += 1
                errand.begun = False
                _note(job.log, f"mlbuild: {outage.message}; try {tried + 1} follows")
                self._bell.wait(min(LONGEST, BACK_OFF * 2 ** (tried - 1)))

    def _forsake(self, errand: "_Errand") -> None:
        """Have what runs for an errand end, through a connection that nobody broke off."""
        if errand.begun:
            with suppress(MlbuildError), self._session() as session:
                session.control.cancel(errand.id)

    def _opened(self) -> "_Session":
        return _Session(self._connect(), self._way, before=self._check_wanted)

    def _last(self, outage: Outage, tried: int) -> HostError:
        times = f" ({tried + 1} tries)" if tried else ""
        return HostError(outage.message + times, hints=outage.hints, notes=outage.notes)

    def _tried(self, errand: "_Errand", turn: ExitStack) -> Execution:
        """Try once to have it run; a connection that is lost on the way is made anew."""
        cuts = 0
        while True:
            try:
                with self._session() as session:
                    return errand.go(session, turn)
            except Cut:
                self._check_wanted()
                cuts += 1
                if not errand.begun or cuts > CUTS:
                    raise
                self._bell.wait(min(LONGEST, BACK_OFF * 2 ** (cuts - 1)))

    def _check_wanted(self) -> None:
        if self._bell.has_rung():
            raise Interrupted("the build was interrupted")

    def cancel(self) -> None:
        """End every running command, now and with all its children; later `run`s end at once.

        Where our own build was killed nobody wants that: what runs elsewhere then goes on.
        """
        if self._parent and os.getppid() != self._parent:
            os._exit(0)
        self._bell.ring()

    def close(self) -> None:
        """Close the connections."""
        if self._owner == os.getpid():
            for session in self._idle:
                session.close()
        self._idle = []
        self._bell.close()

    @contextmanager
    def _session(self) -> Iterator["_Session"]:
        """Yield a connection that nobody else uses meanwhile."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._idle = []  # of the process that we are a fork of
        session = self._idle.pop() if self._idle else self._opened()
        try:
            with bucket_troubles(self.where):
                yield session
        except (Cut, Interrupted, KeyboardInterrupt):
            session.close()
            raise
        except BaseException:
            self._idle.append(session)
            raise
        else:
            self._idle.append(session)


class _Session:
    """One connection, and what goes through it; `before` ends long transfers by raising."""

    def __init__(self, link: Link, way: Way, *, before: Callable[[], None]) -> None:
        self.link = link
        self._memo = way.memo
        self._bucket: Bucket
        if way.terms.store:
            self._bucket = bucket_at(way.terms.store)
            self.control = Control(self._bucket)
        else:
            self._bucket = FarBucket(link, before=before)
            self.control = Control(FarBucket(link))
        self._freight: Freight | None = None

    @property
    def freight(self) -> Freight:
        """The trees that go through it."""
        if self._freight is None:
            self._freight = freight_in(self._bucket, memo=self._memo)
        return self._freight

    def forget(self) -> None:
        """Forget what was sent: it is not there any more."""
        files.remove(self._memo)
        if self._freight is not None:
            self._freight.close()
            self._freight = None

    def close(self) -> None:
        """Close it."""
        if self._freight is not None:
            self._freight.close()
        self.link.close()


class _Errand:
    """One job on its way: its order, and who follows its run."""

    def __init__(self, job: Job, way: Way, *, bell: Bell) -> None:
        self._job = job
        self._way = way
        self.begun = False  # whether somebody runs it, for all we know
        self._cargo = cargo_of(job)
        self._content = encode(_order(job, self._cargo))
        self.id = order_id(self._content)
        self._follower = Follower(self.id, log=job.log, bell=bell)
        self._is_running = False

    def go(self, session: _Session, turn: ExitStack) -> Execution:
        """Have it run, or follow the run that there is; bring what it made."""
        control = session.control
        known = control.state(self.id)
        if not self.begun and not self._is_there(known, session):
            self._start(session)
        for _ in range(_AGAIN):
            self.begun = True
            state = self._follower.follow(
                control,
                hear=partial(self._hear, turn=turn),
                alive=lambda: bool(session.link.ask("alive", {"id": self.id})[0]["alive"]),
            )
            if not (state.fault and state.fault.kind == "lacking"):
                break
            if state.fault.trees:
                session.forget()
            for name in state.fault.tools:
                self._send_tool(name, session)
            self._start(session, trees=[Digest(*tree) for tree in state.fault.trees])
        turn.close()
        self.begun = False
        return self._outcome(state, session)

    def _is_there(self, known: State | None, session: _Session) -> bool:
        """Say whether the order runs, or has an outcome that nobody took."""
        if known is None:
            return False
        if known.over:
            final = known.phase == "ended" or (known.fault and known.fault.kind == "input")
            return bool(final) and not session.control.is_taken(self.id)
        return bool(session.link.ask("alive", {"id": self.id})[0]["alive"])

    def _start(self, session: _Session, *, trees: list[Digest] | None = None) -> None:
        """Send what is missing there, and have a runner started."""
        if trees is None:
            wanted = [[tree.hash, tree.size] for tree in self._cargo.sources]
            found, _ = session.link.ask("lacks", {"trees": wanted})
            trees = [Digest(*tree) for tree in found["lacks"]]
        for tree in trees:
            if tree in self._cargo.sources:
                sources = self._cargo.sources[tree]
                send(tree, sources, self._job, freight=session.freight)
        session.control.keep_order(self.id, self._content)
        session.link.ask(
            "start",
            {
                "id": self.id,
                "attempt": uuid.uuid4().hex,
                "slots": self._way.terms.slots,
                "inside": self._way.terms.inside,
                "store": self._way.terms.store,
                "env": dict(self._job.caller_env),
            },
        )

    def _send_tool(self, name: str, session: _Session) -> None:
        """Send a tool that the machine lacks."""
        tool = self._job.tools[name]
        tree, path = send_tool(tool, freight=session.freight)
        session.control.keep_tool(tool.content, tree, path=path)

    def _hear(self, state: State, *, turn: ExitStack) -> None:
        if state.phase == "running" and not self._is_running:
            self._is_running = True
            turn.enter_context(self._job.turn)
        elif state.phase == "queued" and state.waits:
            self._job.wait(state.waits)

    def _outcome(self, state: State, session: _Session) -> Execution:
        """Return how it ended, with what it made; raise what kept it from that."""
        out = f"{self._job.scratch}/out"
        if state.phase == "cancelled":
            return Execution(out, None, signal.SIGTERM, interrupted=True)
        if fault := state.fault:
            kinds = {"input": InputError, "outage": Outage, "lacking": Outage}
            raise kinds.get(fault.kind, HostError)(fault.message, hints=fault.hints)
        files.remove(out)
        os.mkdir(out, 0o755)
        if session.freight.bring(Digest(*state.tree), out) is None:
            session.control.take(self.id)  # else the next try would find the same
            raise Outage(f"what ran on `{self._way.where}` left outputs that have vanished")
        restore(state.odd, out)
        session.control.take(self.id)
        gpus = tuple(Gpu(*gpu) for gpu in state.gpus)
        return _execution(state.ended, out, gpus=gpus, resumed=state.resumed)


def _order(job: Job, cargo: Cargo) -> Order:
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


def _note(log: str, line: str) -> None:
    with open(log, "ab") as file:
        file.write(line.encode() + b"\n")
