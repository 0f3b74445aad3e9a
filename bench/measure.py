"""Measure: run commands in turns, take medians, compare. A figure is a ratio, never a lone time."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A process counts the memory of whoever started it as its own, so a small one starts it.
_PEAK = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
sys.stderr.write(f"\\n{usage.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One comparison. `ours` and `theirs` are seconds or MiB."""

    what: str
    peer: str
    ours: float
    theirs: float
    unit: str = "s"
    factor: float | None = None  # the goal: `ours` is at most this many times `theirs` …
    more: float = 0.0  # … and this much on top
    most: float | None = None  # or the goal: `ours` is at most this, whatever the peer takes

    @property
    def ratio(self) -> float:
        """How many times the peer's figure ours is."""
        return self.ours / self.theirs

    @property
    def reached(self) -> bool | None:
        """Say whether the goal is reached; None where there is none."""
        if self.most is not None:
            return self.ours <= self.most
        if self.factor is None:
            return None
        return self.ours <= self.factor * self.theirs + self.more

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.most is not None:
            return f"≤ {self.most:g} {self.unit}"
        if self.factor is None:
            return ""
        more = f" + {self.more * 1000:g} ms" if self.more else ""
        return f"≤ {self.factor:g} x{more}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements take place, and how thoroughly."""

    folder: str  # absolute path of a folder of their own
    quick: bool = False

    def size(self, full: int, quick: int) -> int:
        """Return the size that a measurement is to have."""
        return quick if self.quick else full

    def place(self, name: str) -> str:
        """Return the path of a new empty folder."""
        path = os.path.join(self.folder, name)
        wipe(path)
        os.makedirs(path)
        return path

    @property
    def cache(self) -> str:
        """The path of mlbuild's store."""
        return os.path.join(self.folder, "cache")

    def environment(self) -> dict[str, str]:
        """Return variables for commands: none that changes what they do, a home of their own."""
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251 - to find the peers
            "HOME": self.folder,
            "LC_ALL": "C.UTF-8",
            "MLBUILD_CACHE_DIR": self.cache,
        }

    def seconds(self, argv: Sequence[str], *, cwd: str) -> float:
        """Run a command to its end; return the seconds it took. Its failure ends everything."""
        started = time.perf_counter()
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        taken = time.perf_counter() - started
        if done.returncode != 0:
            text = done.stderr.decode("utf-8", "replace")
            raise SystemExit(f"`{' '.join(argv)}` failed in {cwd}:\n{text}")
        return taken

    def output(self, argv: Sequence[str], *, cwd: str) -> str:
        """Return what a command prints."""
        return subprocess.run(
            argv, cwd=cwd, env=self.environment(), capture_output=True, text=True, check=True
        ).stdout

    def peak(self, argv: Sequence[str], *, cwd: str) -> float:
        """Run a command to its end; return the most memory it had at a time, in MiB."""
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PEAK, *argv],
            cwd=cwd,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )
        return int(done.stderr.rpartition(b"\n")[2]) / 1024


def mlbuild(*words: str) -> list[str]:
    """Return the command `mlbuild WORDS...` as users have it: the script beside the interpreter."""
    script = os.path.join(os.path.dirname(sys.executable), "mlbuild")
    if os.path.exists(script):
        return [script, *words]
    return [sys.executable, "-m", "mlbuild", *words]


def medians(cases: Mapping[str, Callable[[], float]], *, repeats: int) -> dict[str, float]:
    """Return the median of each case. They take turns, so that a busy moment hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    for _ in range(repeats):
        for name in order:
            taken[name].append(cases[name]())
        order.append(order.pop(0))  # nobody always goes first
    return {name: statistics.median(times) for name, times in taken.items()}


def settle(bench: Bench, argv: Sequence[str], *, cwd: str) -> None:
    """Run a command until mlbuild has seen that nothing changes any more, and remembers it."""
    for _ in range(3):
        time.sleep(0.1)  # files younger than a tick of the file system's clock are not trusted
        bench.seconds(argv, cwd=cwd)
    if not os.listdir(os.path.join(cwd, ".mlbuild", "requests")):
        raise SystemExit(f"mlbuild keeps no answer to `{' '.join(argv)}`")


def wipe(path: str) -> None:
    """Remove a folder with everything in it, read-only folders too."""
    if not os.path.isdir(path):
        return
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o700)
    shutil.rmtree(path)


def forget(bench: Bench, workspace: str, *, store: bool) -> None:
    """Remove what mlbuild keeps in a workspace, and with `store` everything it ever made.

    What it knows of itself and this host, its parsed rules and the tools, stays: the first command
    after an installation is not what is measured.
    """
    aside(bench, os.path.join(workspace, ".mlbuild"))
    aside(bench, os.path.join(workspace, "mlbuild-out"))
    if store and os.path.isdir(bench.cache):
        for name in os.listdir(bench.cache):
            if name not in {"code", "tools"}:
                aside(bench, os.path.join(bench.cache, name))


def aside(bench: Bench, path: str) -> None:
    """Move something out of the way, instead of removing it.

    Some file systems make files slowly for a while after many were removed (ext4 without a
    journal): what is measured next would pay for it.
    """
    if os.path.lexists(path):
        place = os.path.join(bench.folder, "aside")
        os.makedirs(place, exist_ok=True)
        os.rename(path, os.path.join(place, str(len(os.listdir(place)))))


def write(path: str, text: str) -> None:
    """Write a file, and the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
