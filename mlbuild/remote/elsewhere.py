"""Elsewhere: the executor that has jobs run by another machine, which it reaches by links.

How a link comes about is its opener's (`ssh/client.py`). A job that runs there already is followed,
not started again: so a build that was killed goes on where it was.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Lock, Timer
from time import monotonic
from typing import Any

from mlbuild.errors import Hangup, HostError, Interrupted, MlbuildError
from mlbuild.exec.base import Execution, Gpu, Job
from mlbuild.exec.room import Room
from mlbuild.remote.bell import Bell
from mlbuild.remote.errand import Errand, Way
from mlbuild.remote.facts import Facts, facts_from
from mlbuild.remote.jobs.far_jobs import FarJobs
from mlbuild.remote.link.link import Link
from mlbuild.remote.outage import Cut, Outage, bucket_troubles
from mlbuild.remote.session import Session
from mlbuild.remote.terms import PROCESS

__all__ = ["Elsewhere", "Way"]

BACK_OFF = 1.0  # seconds before the second try; each later one waits twice as long
LONGEST = 30.0
STUBBORN = 30.0  # seconds after which nobody who gave up waits for an answer any more
CUTS = 6  # connections that may be lost one after the other without anything new heard


class Elsewhere:
    """An executor whose jobs run on another machine. `connect` opens a new link to it."""

    def __init__(self, way: Way, connect: Callable[[], Link]) -> None:
        self.name = way.name
        self.hermetic = way.terms.inside != PROCESS
        self.where = way.where
        self.jobs = way.jobs
        self._way = way
        self._connect = connect
        self._bell = Bell()
        self._owner = 0  # the process that our links are of
        self._door = Lock()  # to what follows
        self._open: Session | None = None
        self._failed: tuple[float, HostError] | None = None  # when, why there was no connection
        self._errands: set[Errand] = set()  # that are under way
        self._facts: Facts | None = None
        self._found: tuple[Gpu, ...] | None = None

    # what the machine is

    def reach(self) -> None:
        """Connect; raise Outage where the machine cannot be reached, else HostError."""
        with self._session():
            pass

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

    def room(self) -> Room:
        """Return what it has besides GPUs; asked for once."""
        facts = self.facts()
        return Room(f"`{self.where}`", facts.cpus, facts.memory, facts.free, facts.store)

    def insides(self) -> Mapping[str, Any]:
        """Return what can run commands there: `sandbox` and `docker`, version and why not."""
        with self._session() as session:
            return session.link.ask("insides", {})[0]

    def under_way(self) -> FarJobs:
        """Return the jobs that it has there, whoever started them."""
        words = {"starter": dict(self._way.starter), "store": self._way.terms.store}
        return FarJobs(self.name, self.where, connected=self._session, words=words)

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
        errand = Errand(job, self._way, bell=self._bell)
        self._errands.add(errand)
        try:
            # Not before: a build that is killed while it keeps a large result finds it there again.
            return replace(self._persist(errand, job), taken=partial(self._take, errand))
        finally:
            self._errands.discard(errand)

    def _take(self, errand: Errand) -> None:
        with suppress(MlbuildError), self._session() as session:
            errand.take(session)

    def _persist(self, errand: Errand, job: Job) -> Execution:
        """Try until it has run, as often as that may help."""
        tried = 0
        while True:
            try:
                with ExitStack() as turn:
                    return self._tried(errand, turn)
            except KeyboardInterrupt as wish:  # where the main process itself is at work
                if not isinstance(wish, Hangup):
                    self._forsake(errand)
                raise
            except Outage as outage:
                if self._bell.has_rung():
                    return Execution(f"{job.scratch}/out", None, signal.SIGTERM, interrupted=True)
                if tried >= self._way.retries:
                    raise self._last(outage, tried) from outage
                tried += 1
                errand.begun = False
                _note(job.log, f"mlbuild: {outage.message}; try {tried + 1} follows")
                self._bell.wait(min(LONGEST, BACK_OFF * 2 ** (tried - 1)))

    def _forsake(self, errand: Errand) -> None:
        """Have what runs for an errand end, through a connection that nobody broke off."""
        if errand.begun:
            with suppress(MlbuildError), self._session() as session:
                errand.cancel(session)

    def _last(self, outage: Outage, tried: int) -> HostError:
        times = f" ({tried + 1} tries)" if tried else ""
        return HostError(outage.message + times, hints=outage.hints, notes=outage.notes)

    def _tried(self, errand: Errand, turn: ExitStack) -> Execution:
        """Try once to have it run; a connection that is lost on the way is made anew."""
        cuts = 0
        while True:
            heard = errand.heard
            try:
                with self._session() as session:
                    return errand.go(session, turn)
            except Cut:
                self._check_wanted()
                went_on = errand.heard > heard
                cuts = 1 if went_on else cuts + 1
                if not (errand.begun or went_on) or cuts > CUTS:
                    raise
                self._bell.wait(min(LONGEST, BACK_OFF * 2 ** (cuts - 1)))

    def _check_wanted(self) -> None:
        if self._bell.has_rung():
            raise Interrupted("the build was interrupted")

    def cancel(self) -> None:
        """End every running command, now and with all its children; later `run`s end at once."""
        self._bell.ring()
        session = self._open
        if session is None or self._owner != os.getpid():
            return
        end = Timer(STUBBORN, session.close)
        end.daemon = True
        end.start()
        for errand in list(self._errands):
            if errand.begun:
                with suppress(HostError):  # who follows it hears of that too
                    errand.cancel(session)

    def close(self) -> None:
        """Close the connections."""
        if self._open is not None and self._owner == os.getpid():
            self._open.close()
        self._open = None
        self._bell.close()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Yield the connection of this process."""
        session = self._live()
        try:
            with bucket_troubles(self.where):
                yield session
        except HostError:
            with self._door:
                if self._open is session and session.is_over:
                    self._open = None
                    session.close()
            raise

    def _live(self) -> Session:
        """Return the connection of this process; make it where there is none."""
        since = monotonic()
        with self._door:
            if self._failed is not None and self._failed[0] > since:
                raise self._failed[1]  # it was tried while we waited: once is enough for all
            if self._owner != os.getpid():
                self._owner = os.getpid()
                if self._open is not None:
                    self._open.forsake()
                self._open = None
            if self._open is None:
                self._open = self._opened()
            return self._open

    def _opened(self) -> Session:
        store, memo = self._way.terms.store, self._way.memo
        try:
            return Session(self._connect, store=store, memo=memo, before=self._check_wanted)
        except HostError as error:
            self._failed = (monotonic(), error)
            raise


def _note(log: str, line: str) -> None:
    with open(log, "ab") as file:
        file.write(line.encode() + b"\n")
