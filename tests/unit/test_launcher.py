"""The launcher: what it ends with a command, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

from mlbuild.exec.launcher import Launcher

PROGRAM = """
import subprocess, sys
from mlbuild.exec.launcher import Launcher
daemon = subprocess.Popen(["sleep", "60"], cwd="/")  # as every daemon does
launcher = Launcher()
try:
    launcher.run(["/bin/true"], cwd="/", env={}, log=sys.argv[1])
    print("alive" if daemon.poll() is None else "ended")
finally:
    launcher.close()
    daemon.kill()
"""


def test_a_child_of_somebody_else_that_works_in_the_root_is_left_alone(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "log")]

    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ})

    assert done.stdout == "alive\n"


def test_the_init_of_a_sandbox_that_ended_before_it_told_of_it_is_ended_too(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    launcher = Launcher()
    script = f"sleep 600 & echo $! > {number}"

    launcher.run(
        ["/bin/sh", "-c", script], cwd="/", env={}, log=str(tmp_path / "log"), init=lambda: 0
    )
    launcher.close()

    assert not Path(f"/proc/{number.read_text().strip()}").exists()
