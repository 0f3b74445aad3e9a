"""Choice: the executor that picks, job by job, which other one runs it.

What has an image goes to Docker where an engine answers, and else to the sandbox, which shows the
same files: so results are the same, and it does not matter for a key who made them.
"""

from collections.abc import Mapping
from typing import Protocol

from mlbuild.errors import HostError
from mlbuild.exec.base import Execution, Job, Patient
from mlbuild.exec.launcher import GRACE


class _Docker(Patient, Protocol):
    """What Docker can do besides that."""

    def available(self) -> str: ...


class Choice:
    """Runs jobs with an image in containers, all others by `other`."""

    def __init__(
        self, other: Patient, *, folder: str, environ: Mapping[str, str], insist: bool
    ) -> None:
        """Docker may keep small files in `folder`; `environ` says which engine to use.

        With `insist`, a job with an image runs in a container or not at all.
        """
        self.name = other.name  # of the executor that ran the last job
        self.hermetic = other.hermetic
        self._other = other
        self._folder = folder
        self._environ = environ
        self._insist = insist
        self._docker: _Docker | None = None  # made when the first job asks for it
        self._why_not: str | None = None  # what keeps us from using it, once we have asked
        self._is_cancelled = False

    def available(self) -> str:
        """Return "" when jobs with an image can run in containers, else the reason why not."""
        if self._why_not is None:
            self._why_not = self._made().available()
        return self._why_not

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end; raise HostError where this host cannot."""
        chosen = self._chosen(job)
        self.name = chosen.name
        return chosen.run(job)

    def cancel(self, *, grace: float = GRACE) -> None:
        """End every running command with all its children; later `run`s end at once.

        Each has `grace` seconds to end by itself.
        """
        self._is_cancelled = True
        if self._docker is not None:
            self._docker.cancel(grace=grace)
        self._other.cancel(grace=grace)

    def close(self) -> None:
        """Free what is held between runs."""
        if self._docker is not None:
            self._docker.close()
        self._other.close()

    def _chosen(self, job: Job) -> Patient:
        """Return who is to run `job`. Somebody who talks with it sits before a sandbox."""
        if not job.run.root or job.streams is not None:
            return self._other
        why_not = self.available()
        if not why_not:
            return self._made()
        if self._insist:
            raise HostError(
                f"`{job.action.owner}` cannot run in a container: {why_not}",
                hints=("`--executor sandbox` runs it here, on the same files of its image",),
            )
        return self._other

    def _made(self) -> _Docker:
        if self._docker is None:
            from mlbuild.exec.docker import Docker  # noqa: PLC0415 - start-up: few builds need it

            made = Docker(self._folder, self._environ)
            self._docker = made
            if self._is_cancelled:  # meanwhile, by a signal
                made.cancel()
        return self._docker
