"""The script that comes first on a worker, run by this host's shell."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlbuild.errors import HostError
from mlbuild.exec.host import platform_id
from mlbuild.exec.numerics import LEVELS, cpu_class
from mlbuild.remote.reapi.script import HERE, Scene, script_of

PATIENCE = 30.0  # seconds for what must happen
ANYWHERE = Scene(sealed=False, offline=False)
LEVEL = [name for name, _ in LEVELS]


def entered(
    root: Path, scene: Scene, *words: str, timeout: float = 0.0
) -> "subprocess.CompletedProcess[bytes]":
    """Run the script for a command in the input root `root`."""
    lay(root, scene, *words, timeout=timeout)
    return subprocess.run(
        ["/bin/sh", "enter"], cwd=root, capture_output=True, check=False, timeout=PATIENCE
    )


def lay(root: Path, scene: Scene, *words: str, timeout: float = 0.0) -> None:
    """Write the script for a command into the input root `root`."""
    (root / "work").mkdir(parents=True)
    (root / "context.json").write_text("{}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": f"{HERE}/tmp/home"}  # noqa: S108 - below the root
    script = script_of([*words], environment, scene, timeout=timeout)
    (root / "enter").write_bytes(script)


def told(root: Path) -> str:
    place = root / "told"
    return place.read_text().strip() if place.exists() else ""


def test_a_worker_like_this_host_runs_the_command(tmp_path: Path) -> None:
    scene = Scene(
        sealed=False,
        offline=False,
        platform=platform_id(),
        machine=os.uname().machine,
        processor=cpu_class(),
    )

    done = entered(tmp_path, scene, "/bin/sh", "-c", 'echo "$HOME"; echo "$0" >&2', "a 'b' $c")

    assert told(tmp_path) == ""
    assert done.returncode == 0
    assert done.stdout.decode() == f"{tmp_path}/tmp/home\na 'b' $c\n"  # noqa: S108


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (Scene(sealed=False, offline=False, platform="linux-x/y-1/z"), f"platform {platform_id()}"),
        (Scene(sealed=False, offline=False, machine="vax"), f"platform {os.uname().machine}"),
        (Scene(sealed=True, offline=False), "exposed its input root is"),
    ],
)
def test_a_worker_that_is_another_says_what_it_is(tmp_path: Path, scene: Scene, said: str) -> None:
    done = entered(tmp_path, scene, "/bin/true")

    assert done.returncode == 1
    assert told(tmp_path).startswith(said)


@pytest.mark.skipif(cpu_class() not in LEVEL[1:], reason="needs a processor of level 2 or more")
def test_a_processor_that_offers_more_is_another(tmp_path: Path) -> None:
    below = LEVEL[LEVEL.index(cpu_class()) - 1]

    entered(tmp_path, Scene(sealed=False, offline=False, processor=below), "/bin/true")

    assert told(tmp_path) == f"processor {cpu_class()}"


def test_a_command_that_takes_too_long_is_asked_to_end(tmp_path: Path) -> None:
    script = "trap 'echo saved; exit 5' TERM; while :; do sleep 0.01; done"

    done = entered(tmp_path, ANYWHERE, "/bin/sh", "-c", script, timeout=0.1)

    assert (done.returncode, done.stdout) == (5, b"saved\n")
    assert told(tmp_path) == "late"


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_command_whose_worker_is_taken_away_may_save_first(
    tmp_path: Path, shell: str, number: int
) -> None:
    script = (
        "trap 'sleep 0.1; echo saved >saved; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    )
    lay(tmp_path, ANYWHERE, "/bin/sh", "-c", script, timeout=PATIENCE)
    with subprocess.Popen([shell, "enter"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"

        process.send_signal(number)
        rest = process.stdout.read()
        process.wait(PATIENCE)

    assert process.returncode == 5
    assert told(tmp_path) == "taken"
    assert (tmp_path / "work/saved").exists()
    assert rest == b""


def test_a_command_that_is_killed_is_told_by_its_signal(tmp_path: Path) -> None:
    done = entered(tmp_path, ANYWHERE, "/bin/sh", "-c", "kill -KILL $$")

    assert (done.returncode, done.stdout, told(tmp_path)) == (137, b"", "")


def test_a_command_can_be_interrupted_by_ctrl_c_as_elsewhere(tmp_path: Path) -> None:
    script = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"

    done = entered(tmp_path, ANYWHERE, sys.executable, "-c", script)

    assert done.stdout == b"True\n"


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    entered(tmp_path, ANYWHERE, "no-such-program")

    assert told(tmp_path) == "program"


def test_too_many_words_are_refused_before_they_travel(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="too long"):
        entered(tmp_path, ANYWHERE, "/bin/true", "x" * 200_000)
