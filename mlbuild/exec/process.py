"""Process: runs an action as a plain process, for hosts without namespaces.

It sees a working directory with its inputs and a clean environment, but nothing keeps it from
reading other files: what it makes is marked as not hermetic.
"""

import os

from mlbuild.errors import HostError
from mlbuild.exec import cgroup, view
from mlbuild.exec.base import Execution, Job
from mlbuild.exec.launcher import GRACE, Launcher
from mlbuild.exec.sandbox import stage, write_new


class Process:
    """The executor "process"."""

    name = "process"
    hermetic = False

    def __init__(self) -> None:
        self._launcher = Launcher()

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end; raise HostError where this host cannot."""
        run = job.run
        if run.root:
            raise HostError(
                f"`{job.action.owner}` runs in a container image, and a plain process cannot",
                hints=("use `--executor sandbox` or `--executor docker`",),
            )
        sandbox = stage(job)
        sandbox.add_links()
        here = view.View(
            work=sandbox.work,
            out=sandbox.out,
            context=f"{job.staging or job.scratch}/context.json",
            home=f"{job.scratch}/tmp/home",  # noqa: S108 - private
            temporary=f"{job.scratch}/tmp",  # noqa: S108 - private
            checkpoint=job.checkpoint,
            cache=job.cache if run.network else "",
            tools={name: view.on_host(tool) for name, tool in job.tools.items()},
        )
        os.mkdir(here.temporary, 0o700)
        os.mkdir(here.home, 0o700)
        write_new(here.context, view.context(job, here))
        argv = [view.text(word, here) for word in run.argv]
        where = cgroup.hierarchies() if run.memory else None
        group = cgroup.make(where, memory=run.memory) if where else None
        try:
            with job.turn:
                ended = self._launcher.run(
                    group.enter(argv) if group else argv,
                    cwd=here.work,
                    env=view.environment(job, here, job.caller_env) | {"PWD": here.work},
                    log=job.log,
                    pass_fds=job.locks,
                    timeout=run.timeout,
                    streams=job.streams,
                )
            return Execution(
                sandbox.out,
                ended.code,
                signal=ended.signal,
                timed_out=ended.timed_out,
                out_of_memory=group is not None and group.was_out_of_memory(),
                interrupted=ended.interrupted,
                seconds=ended.seconds,
                cpu_seconds=ended.cpu_seconds,
                peak_memory=(group.peak_memory() if group else 0) or ended.peak_memory,
            )
        finally:
            if group:
                group.remove()
            if not job.keep:
                sandbox.clear()
                _tidy(here)

    def cancel(self, *, grace: float = GRACE) -> None:
        """End every running command with all its children; later `run`s end at once.

        Each has `grace` seconds to end by itself.
        """
        self._launcher.cancel(grace=grace)

    def close(self) -> None:
        """End the thread that starts commands."""
        self._launcher.close()


def _tidy(here: view.View) -> None:
    """Remove what was made for the command, by name; what else is there goes with the scratch."""
    try:
        os.unlink(here.context)
        os.rmdir(here.home)
        os.rmdir(here.temporary)
    except OSError:
        return
