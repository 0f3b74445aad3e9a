"""Reapi: the executor that has jobs executed by a server of the Remote Execution API.

mlbuild asks, the server's own scheduler decides who runs what. A worker shows an action what the
sandbox of this host shows, at the same places; a script that comes first makes sure of that. So a
result has the same key, and is hermetic unless the settings say that workers show more.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

from mlbuild.errors import HostError, MlbuildError
from mlbuild.exec.base import Execution, Executor, Gpu, Job
from mlbuild.exec.sandbox import stage
from mlbuild.remote.check import Checked
from mlbuild.remote.jobs.book import Book
from mlbuild.remote.jobs.under_way import UnderWay
from mlbuild.remote.outage import Outage
from mlbuild.remote.reapi.ear import Cancelled, Ear
from mlbuild.remote.reapi.errand import Errand
from mlbuild.remote.reapi.jobs import ServerJobs
from mlbuild.remote.reapi.server import Server
from mlbuild.remote.reapi.session import Session
from mlbuild.remote.reapi.trial import tried
from mlbuild.shared import reapi_messages as wire

_BACK_OFF = 1.0  # seconds before the second try; each later one waits twice as long
_LONGEST = 30.0


class Reapi:
    """The executor of one server. `folder` is private; `jobs` is what this host would take.

    What uses the network is run by `here`, where there is one; what runs elsewhere is noted in
    `book`, where there is one. Any number of threads may run jobs:
    they share the connections.
    """

    def __init__(
        self,
        server: Server,
        *,
        folder: str,
        jobs: int,
        here: Executor | None = None,
        book: Book | None = None,
    ) -> None:
        self._book = book or Book()
        self.hermetic = server.hermetic
        self.where = server.name
        self.jobs = server.slots or jobs
        self._here = here
        self._server = server
        self._folder = folder
        self._last = threading.local()  # the executor that ran the last job of a thread
        self._door = threading.Lock()
        self._session: Session | None = None
        self._owner = 0  # the process that the session is of
        self._ears: set[Ear] = set()
        self._is_cancelled = False

    @property
    def name(self) -> str:
        """The name of the executor that ran the last job of this thread."""
        found: str = getattr(self._last, "name", self._server.name)
        return found

    def reach(self) -> None:
        """Connect; raise Outage where the server cannot be reached, else HostError."""
        self._opened()

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs that the settings say that the workers have."""
        return self._server.gpus

    def links(self) -> Iterator[Checked]:
        """Yield the links to the server and to a worker, which runs a command on trial."""
        try:
            offered = self._opened().blobs.offers
        except MlbuildError as error:
            yield Checked("connection", "bad", error.message, "; ".join(error.hints))
            return
        target = self._server.address.target
        by = "BLAKE3" if offered.function == wire.BLAKE3 else "SHA-256"
        yield Checked("connection", "ok", f"`{target}` answers: it executes actions, by {by}")
        yield tried(self, self._server)
        names = ", ".join(gpu.name for gpu in self._server.gpus)
        if names:
            yield Checked("gpu", "note", f"{names}: so the settings say; the API cannot be asked")

    def under_way(self) -> UnderWay:
        """Return its jobs that were started from here; asks nobody yet."""
        return ServerJobs(self._server.name, self._opened)

    def run(self, job: Job) -> Execution:
        """Have the command of `job` executed; raise HostError where that cannot be."""
        chosen = self._here if job.run.network else None
        self._last.name = chosen.name if chosen else self._server.name
        return chosen.run(job) if chosen else self._run(job)

    def _run(self, job: Job) -> Execution:
        self._check(job)
        sandbox = stage(job)
        ear = Ear()
        self._ears.add(ear)
        try:
            if self._is_cancelled:
                ear.cancel()
            with ExitStack() as turn:
                errand = Errand(job, sandbox, self._opened(), book=self._book, ear=ear, turn=turn)
                return self._persist(errand, ear, log=job.log)
        except Cancelled:
            return Execution(sandbox.out, None, signal.SIGTERM, interrupted=True)
        finally:
            self._ears.discard(ear)
            (sandbox.settle if job.keep else sandbox.clear)()

    def cancel(self) -> None:
        """End every running command, now and with all its children; later `run`s end at once."""
        self._is_cancelled = True
        if self._here is not None:
            self._here.cancel()
        for ear in list(self._ears):
            ear.cancel()

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None and self._owner == os.getpid():
            self._session.close()
        self._session = None
        if self._here is not None:
            self._here.close()

    def _check(self, job: Job) -> None:
        if job.streams is not None:
            raise HostError(
                f"what runs on `{self._server.name}` cannot be talked with from here",
                hints=("run it with `--executor sandbox`",),
            )
        if job.run.root and not self._server.images:
            raise HostError(
                f"`{job.action.owner}` runs in an image, and the workers of "
                f"`{self._server.name}` show their own system instead",
                hints=(
                    f"set `executors.{self._server.name}.images = true` if they do not",
                    "or run it with `--executor docker`",
                ),
            )

    def _opened(self) -> Session:
        """Return the session of this process: no connection outlives a fork."""
        with self._door:
            if self._session is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._session = Session(self._server, folder=self._folder)
            return self._session

    def _persist(self, errand: Errand, ear: Ear, *, log: str) -> Execution:
        """Try it again while the server or its workers are in trouble that may pass."""
        tried = 0
        while True:
            try:
                return errand.go()
            except Outage as outage:
                if tried >= self._server.retries:
                    times = f" ({tried + 1} tries)" if tried else ""
                    raise HostError(outage.message + times, hints=outage.hints) from outage
                tried += 1
                _note(log, f"mlbuild: {outage.message}; try {tried + 1} follows")
                ear.wait(min(_LONGEST, _BACK_OFF * 2 ** (tried - 1)))


def _note(log: str, line: str) -> None:
    """Say in a log, below what an attempt has printed, what became of it."""
    with open(log, "ab+") as file:
        if size := file.tell():
            file.seek(size - 1)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode("utf-8", "replace"))
