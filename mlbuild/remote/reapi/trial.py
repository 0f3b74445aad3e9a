"""Trial: a command that does nothing, to see whether a worker is as keys take for granted."""

import os
import tempfile

from mlbuild.core.action import Action, Run
from mlbuild.errors import MlbuildError
from mlbuild.exec.base import Executor, Job
from mlbuild.exec.host import platform_id
from mlbuild.remote.check import Checked
from mlbuild.remote.reapi.server import Server


def tried(executor: Executor, server: Server) -> Checked:
    """Have a worker run a command; say how it is."""
    run = Run(argv=(("/bin/sh",), ("-c",), ("exit 0",)))
    with tempfile.TemporaryDirectory(prefix="mlbuild-trial-") as folder:
        scratch = os.path.join(folder, "scratch")
        os.mkdir(scratch)
        action = Action("trial", "trial", "trial", run)
        job = Job(action, run, (), {}, {}, scratch, "", os.path.join(folder, "log"), "")
        try:
            done = executor.run(job)
        except MlbuildError as error:
            return Checked("worker", "bad", error.message, "; ".join(error.hints))
    if done.exit_code != 0:
        return Checked("worker", "bad", f"a command that does nothing ended with {done.exit_code}")
    how = "shows nothing else to actions" if server.hermetic else "may show actions more"
    return Checked("worker", "ok", f"one runs commands; it is {platform_id()}, as here, and {how}")
