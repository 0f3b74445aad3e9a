"""The processes that do the work of a build: killed, orphaned, asked to wait for each other."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Build

SECONDS = 20.0  # patience with a busy machine


def until(found: Callable[[], object], what: str) -> None:
    """Wait until `found` answers with something."""
    end = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started."""
    found = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [int(line) for line in found.split()]


def sleepers(mark: str) -> list[str]:
    """Return the processes that run `sleep MARK`."""
    found = subprocess.run(["pgrep", "-f", f"^sleep {mark}"], capture_output=True, check=False)
    return found.stdout.decode().split()


@pytest.mark.parametrize("executor", ["sandbox", "process"])
def test_a_killed_member_fails_its_action_and_no_other(build: Build, executor: str) -> None:
    build.genrule("long", f"(touch $@; sleep 6{os.getpid()}; cat)")
    build.genrule("short", "cat")

    process = build.start("build", "-k", "-j1", "--executor", executor, "//...")
    until(lambda: sleepers(f"6{os.getpid()}"), "the command")
    (member, *_) = [
        pid
        for pid in children(process.pid)
        if b"mlbuild" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(member, signal.SIGKILL)
    _, stderr = process.communicate(timeout=SECONDS)

    assert process.returncode == 36
    assert "the process of mlbuild that cared for it was killed by signal 9" in stderr
    assert "2 targets: 1 ran, 1 failed" in stderr
    assert (build.root / "mlbuild-out" / "short").exists()
    until(lambda: not sleepers(f"6{os.getpid()}"), "the end of the orphan")


@pytest.mark.parametrize("executor", ["sandbox", "process"])
def test_no_command_outlives_a_killed_mlbuild(build: Build, executor: str) -> None:
    build.genrule("long", f"(sleep 7{os.getpid()}; cat)")
    process = build.start("build", "--executor", executor, "//...")
    until(lambda: sleepers(f"7{os.getpid()}"), "the command")

    process.kill()
    process.communicate(timeout=SECONDS)

    until(lambda: not sleepers(f"7{os.getpid()}"), "the end of the command")
    build.edit("BUILD.ml", "sleep 7", "true 7")
    assert build.run("build", "//...").code == 0


def test_a_thousand_inputs_and_a_large_manifest_reach_a_member(build: Build) -> None:
    for number in range(1000):
        build.file(f"in/{number:04}-{'x' * 150}.txt", f"{number}\n")
    build.file(
        "BUILD.ml",
        'genrule(name = "all", srcs = glob(["in/*.txt"]), outs = ["all.txt"], '
        'cmd = "cat in/* > $@")\n',
    )

    done = build.run("build", "//:all")

    assert done.code == 0, done.stderr
    assert (build.root / "mlbuild-out/all/all.txt").read_text().count("\n") == 1000


def test_who_waited_for_another_process_runs_when_that_one_failed(build: Build) -> None:
    build.genrule("slow", f"(test -e /nowhere || sleep 2; echo {os.getpid()}; cat)")
    first = build.start("build", "//:slow")
    until(lambda: list((build.cache / "locks").glob("*")), "the first to hold the key")
    second = build.start("build", "--events", "events.jsonl", "//:slow")
    events = build.root / "events.jsonl"
    until(lambda: events.exists() and "ActionWaiting" in events.read_text(), "the second to wait")

    first.kill()
    first.communicate(timeout=SECONDS)
    second.communicate(timeout=SECONDS)

    assert second.returncode == 0
    assert '"ActionStarted"' in events.read_text()
