"""Whether the process that made us is gone."""

import os
import subprocess
import time

from mlbuild.remote.parent import is_dying, is_gone


def test_a_parent_that_lives_is_not_gone() -> None:
    assert not is_gone(os.getppid())
    assert not is_dying(os.getpid())


def test_a_process_that_is_dead_and_not_waited_for_is_dying() -> None:
    with subprocess.Popen(["true"]) as process:
        deadline = time.monotonic() + 30
        while not is_dying(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)

        assert process.returncode is None
        assert is_dying(process.pid)
