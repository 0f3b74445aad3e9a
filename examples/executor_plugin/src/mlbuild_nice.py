"""An executor that runs every action in the sandbox, at a low priority.

An executor is any object with `name`, `hermetic`, `run`, `cancel` and `close`
(`mlbuild/exec/base.py`). `run` is given a Job and returns an Execution whose outputs lie in
`scratch/out`; it raises HostError where the host cannot do that. This one leaves the work to the
sandbox that mlbuild has, so it is hermetic like that: the same keys, the same results.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from mlbuild.config import Config
from mlbuild.exec.base import Execution, Job
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.remote.options import Options
from mlbuild.settings_file import NamedExecutor

LOWEST = 19


@dataclass
class Nice:
    """Runs jobs in a sandbox at a low priority."""

    name: str
    hermetic: bool
    sandbox: Bubblewrap
    by: int  # 0 is as usual

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end."""
        now = os.getpriority(os.PRIO_PROCESS, 0)
        if now < self.by:  # this process works for one build alone, and so do its children
            os.setpriority(os.PRIO_PROCESS, 0, self.by)
        return self.sandbox.run(job)

    def cancel(self) -> None:
        """End every running command; later `run`s end at once."""
        self.sandbox.cancel()

    def close(self) -> None:
        """Free what is held between runs."""
        self.sandbox.close()


def open_nice(described: NamedExecutor, config: Config, *, say: Callable[[str], None]) -> Nice:
    """Return the executor that `[executors.NAME]` with `kind = "nice"` describes."""
    options = Options(described)
    by = options.number("by", 10, least=0)
    options.close()  # refuses what nobody asked for
    if by > LOWEST:
        raise options.fault("by", f"is at most {LOWEST}, not {by}")
    sandbox = Bubblewrap(os.path.join(config.cache_dir, "sandbox"))
    if why_not := sandbox.available():
        say(f"`{described.name}` will not work here: {why_not}")
    return Nice(described.name, True, sandbox, by)
