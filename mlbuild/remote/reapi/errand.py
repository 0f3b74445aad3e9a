"""Errand: one job on its way to a server: what is sent for it, its execution, what comes back.

What the command left in its checkpoint is kept whatever became of it, and goes along when the job
is tried again.
"""

import os
import re
import signal
from contextlib import ExitStack
from typing import Any

from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Execution, Job
from mlbuild.exec.host import platform_id
from mlbuild.exec.launcher import unknown_program
from mlbuild.exec.numerics import cpu_class
from mlbuild.exec.sandbox import Sandbox
from mlbuild.remote.jobs.book import Book
from mlbuild.remote.outage import Outage
from mlbuild.remote.reapi.diary import Diary
from mlbuild.remote.reapi.ear import Ear
from mlbuild.remote.reapi.log import Log
from mlbuild.remote.reapi.operation import Verdict
from mlbuild.remote.reapi.outputs import Brought, brought, write
from mlbuild.remote.reapi.root import CHECKPOINT, OUT, Consignment, consignment_of
from mlbuild.remote.reapi.script import LATE, NETWORK, PLATFORM, PROCESSOR, PROGRAM, TAKEN, TOLD
from mlbuild.remote.reapi.session import Session
from mlbuild.shared import reapi_messages as wire
from mlbuild.store import files

_REPAIRS = 3  # times that what is missing is sent again
_LACKING = {"FAILED_PRECONDITION", "NOT_FOUND", "INTERNAL", "UNKNOWN"}  # servers differ
_PASSING = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "ABORTED", "DATA_LOSS"}
_MISSING = "MISSING"
_HASH = re.compile(r"[0-9a-f]{64}")
_SHOWN = 300  # characters of a server's own words
_SIGNAL, _SIGNALS = 128, 64  # a shell's way to tell a signal in an exit code
_ENDINGS = {signal.SIGKILL, signal.SIGTERM}  # that come from outside
_FAILURE = wire.message("PreconditionFailure")


class Errand:
    """One job for a server, noted in `book`. Small inputs lie in `sandbox`.

    `ear` hears that nobody wants it; `turn` is what is left as soon as the command has ended.
    """

    def __init__(
        self,
        job: Job,
        sandbox: Sandbox,
        session: Session,
        *,
        book: Book,
        ear: Ear,
        turn: ExitStack,
    ) -> None:
        self._book = book
        self._job = job
        self._sandbox = sandbox
        self._session = session
        self._ear = ear
        self._turn = turn
        self._is_begun = False
        self._out = sandbox.out

    def go(self) -> Execution:
        """Have it executed, and bring what it made; raise Outage for what may pass.

        May be called again after an Outage.
        """
        log = Log(self._print, self._session.channel)
        try:
            with self._session.troubles():
                return self._gone(log)
        finally:
            log.close()

    def _gone(self, log: Log) -> Execution:
        job, session = self._job, self._session
        resumed = self._has_checkpoint()
        sent = consignment_of(
            job, self._sandbox, server=session.server, packer=session.packer, etc=session.etc
        )
        self._send(sent)
        verdict = self._execute(sent, log)
        for _ in range(_REPAIRS):
            if verdict.code not in _LACKING or not self._repaired(sent, verdict):
                break
            verdict = self._execute(sent, log)
        found = brought(verdict.result, session.blobs, told=TOLD)
        log.finish(found.printed)
        return self._ended(verdict, found, resumed=resumed)

    def _print(self, content: bytes) -> None:
        with open(self._job.log, "ab") as file:
            file.write(content)

    def _has_checkpoint(self) -> bool:
        return bool(self._job.checkpoint) and bool(os.listdir(self._job.checkpoint))

    def _send(self, sent: Consignment) -> None:
        try:
            self._session.send(sent.blobs)
        except InputError as error:  # a file that was hashed has vanished or changed since
            raise HostError(error.message, hints=("run the build again",)) from error

    def _execute(self, sent: Consignment, log: Log) -> Verdict:
        def tell(metadata: Any) -> None:
            if not self._is_begun and metadata.stage != wire.QUEUED:
                self._is_begun = True
                self._turn.enter_context(self._job.turn)
            log.follow(metadata)

        session = self._session
        id_ = session.operations.id_of(sent.action.spot)
        return session.operations.execute(
            sent.action.spot,
            fresh=not (session.server.server_cache and self._job.key),
            diary=Diary(self._book, id_, self._job, where=session.server.name),
            ear=self._ear,
            tell=tell,
        )

    def _repaired(self, sent: Consignment, verdict: Verdict) -> bool:
        """Send what the server lacks, by what it says and by what it answers when it is asked."""
        return self._session.resend(sent.blobs, named=_missing(verdict.status))

    def _ended(self, verdict: Verdict, found: Brought, *, resumed: bool) -> Execution:
        """Return how it ended, with what it made; raise what kept it from that."""
        word, _, rest = found.told.strip().partition(" ")
        if word and word not in {LATE, TAKEN}:
            raise self._refusal(word, rest)
        if CHECKPOINT in found.trees:
            self._put(found.trees[CHECKPOINT], self._job.checkpoint)
        code, late = verdict.result.exit_code, word == LATE
        if verdict.code == "DEADLINE_EXCEEDED" and self._job.run.timeout:
            code, late = signal.SIGKILL + _SIGNAL, True
        elif verdict.code != "OK":
            raise self._trouble(verdict)
        ended_by = code - _SIGNAL if _SIGNAL < code <= _SIGNAL + _SIGNALS else 0
        if not late:
            self._check_lost(word, ended_by)
        self._turn.close()  # whatever is tried again is still under way
        if OUT in found.trees:
            self._put(found.trees[OUT], self._out)
        return Execution(
            self._out,
            None if ended_by else code,
            signal=ended_by,
            timed_out=late,
            seconds=found.seconds,
            resumed=resumed,
        )

    def _check_lost(self, word: str, ended_by: int) -> None:
        """Raise Outage where something outside ended the command, and it may go on from there."""
        where, owner = self._session.server.name, self._job.action.owner
        if word == TAKEN:
            raise Outage(f"a worker of `{where}` was taken away from `{owner}`")
        if ended_by in _ENDINGS and self._has_checkpoint():
            raise Outage(f"`{owner}` was killed by signal {ended_by} on a worker of `{where}`")

    def _put(self, tree: Any, place: str) -> None:
        """Write a folder that came back, whole, in the place of what was sent."""
        fresh, old = f"{self._job.scratch}/came-back", f"{self._job.scratch}/was-sent"
        write(tree, fresh, self._session.blobs)
        os.rename(place, old)
        os.rename(fresh, place)
        files.remove(old)

    def _trouble(self, verdict: Verdict) -> HostError:
        """Return what a status of the server means to a user."""
        name = self._session.server.name
        said = " ".join((verdict.status.message or verdict.message or verdict.code).split())[
            :_SHOWN
        ]
        if verdict.code in _PASSING:
            return Outage(f"`{name}` failed at executing `{self._job.action.owner}`: {said}")
        if verdict.code == "CANCELLED":
            return HostError(f"somebody cancelled `{self._job.action.owner}` on `{name}`")
        if verdict.code == "DEADLINE_EXCEEDED":
            return HostError(
                f"`{name}` ended `{self._job.action.owner}` after its own limit of time: {said}",
                hints=("say how long it may take: `timeout` in its `resources`",),
            )
        return HostError(
            f"`{name}` does not execute `{self._job.action.owner}`: {said}",
            hints=(f"check `[executors.{name}.platform]`: which workers are there?",),
        )

    def _refusal(self, word: str, said: str) -> HostError:
        """Return why our script did not begin the command."""
        name, run = self._session.server.name, self._job.run
        said = said[:_SHOWN]
        if word == PROGRAM:
            argv = self._job.run.argv
            program = "".join(part for part in argv[0] if isinstance(part, str))
            return unknown_program(program, in_image=bool(run.root))
        if word in {PLATFORM, PROCESSOR}:
            own = platform_id() if word == PLATFORM else cpu_class()
            return HostError(
                f"a worker of `{name}` has another {word} than this build is for: `{said}`, "
                f"not `{own}`",
                hints=(f"choose like workers by `[executors.{name}.platform]`",),
            )
        what = f"shows more than an action's inputs: `{said}`"
        if word == NETWORK:
            what = f"has a network, and `{self._job.action.owner}` is not to use one"
        return HostError(
            f"a worker of `{name}` {what}",
            hints=(
                "have the worker run actions in a sandbox, with the input root as `/`",
                f"or set `executors.{name}.hermetic = false`: results are then never shared",
            ),
        )


def _missing(status: Any) -> list[str]:
    """Return the hashes of the blobs that a status says are missing."""
    found = []
    for detail in status.details:
        if detail.type_url.endswith(".PreconditionFailure"):
            for one in _FAILURE.FromString(detail.value).violations:
                parts = one.subject.split("/")
                if one.type == _MISSING and _HASH.fullmatch(parts[-2] if parts[1:] else ""):
                    found.append(parts[-2])
    return found
