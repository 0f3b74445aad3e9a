"""Choice: the executor that picks, job by job, which other one runs it.

What has an image goes to Docker where an engine answers, and else to the sandbox, which shows the
same files: so results are the same, and it does not matter for a key who made them.
"""

from mlbuild.errors import HostError
from mlbuild.exec.base import Execution, Executor, Job
from mlbuild.exec.docker import Docker


class Choice:
    """Runs jobs with an image in containers, all others by `other`."""

    def __init__(self, other: Executor, docker: Docker, *, insist: bool) -> None:
        """With `insist`, a job with an image runs in a container or not at all."""
        self._other = other
        self._docker = docker
        self._insist = insist
        self._why_not: str | None = None  # what keeps us from using Docker, once we have asked
        self.name = other.name  # of the executor that ran the last job
        self.hermetic = other.hermetic

    def available(self) -> str:
        """Return "" when jobs with an image can run in containers, else the reason why not."""
        if self._why_not is None:
            self._why_not = self._docker.available()
        return self._why_not

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end; raise HostError where this host cannot."""
        chosen = self._chosen(job)
        self.name = chosen.name
        return chosen.run(job)

    def cancel(self) -> None:
        """End every running command, now and with all its children; later `run`s end at once."""
        self._docker.cancel()
        self._other.cancel()

    def close(self) -> None:
        """Free what is held between runs."""
        self._docker.close()
        self._other.close()

    def _chosen(self, job: Job) -> Executor:
        """Return who is to run `job`. Somebody who talks with it sits before a sandbox."""
        if not job.run.root or job.streams is not None:
            return self._other
        why_not = self.available()
        if not why_not:
            return self._docker
        if self._insist:
            raise HostError(
                f"`{job.action.owner}` cannot run in a container: {why_not}",
                hints=("`--executor sandbox` runs it here, on the same files of its image",),
            )
        return self._other
