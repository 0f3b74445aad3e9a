"""The launcher: what it ends with a command, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

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
