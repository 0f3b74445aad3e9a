"""Elsewhere: actions on another host, which is this one behind an OpenSSH server on loopback."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.measure import Bench, Figure, medians, mlbuild, wipe, write
from tests import ssh

SLOTS, PAUSE = 4, 0.5  # seconds
BUSY = 0.9  # the part of the time that slots are to be used
MOVED = 1.0  # MiB
_START = [sys.executable, "-c", "import mlbuild.remote.machine.agent"]


def figures(bench: Bench) -> list[Figure]:
    """Compare with ssh itself, and with slots that are never idle; nothing without a server."""
    folder = Path(bench.place("ssh"))
    variables = (f"XDG_CACHE_HOME={folder}/far",)
    try:
        return [
            figure
            for host in ssh.server(folder / "host", variables=variables)
            for figure in _figures(Elsewhere(bench, host, bench.place("elsewhere"), str(folder)))
        ]
    except pytest.skip.Exception:
        return []
    finally:
        wipe(str(folder))


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A workspace whose builds run on the host."""

    bench: Bench
    host: ssh.Host
    workspace: str
    folder: str  # of the host

    @property
    def address(self) -> str:
        """What ssh and the settings call the host."""
        return f"ssh://{self.host.address}"

    def seconds(self, argv: Sequence[str]) -> float:
        """Return the seconds that a command takes, for which `ssh` knows the host."""
        path = f"PATH={self.host.bin}:{self.bench.environment()['PATH']}"
        return self.bench.seconds(["env", path, *argv], cwd=self.workspace)

    def build(self, *words: str) -> float:
        """Return the seconds that a build there takes."""
        return self.seconds(mlbuild("build", "--executor", "far", *words))

    def held(self) -> int:
        """Return the bytes in the bucket of the host."""
        return sum(
            os.lstat(os.path.join(place, name)).st_size
            for place, _, names in os.walk(f"{self.folder}/far/mlbuild/v1/remote")
            for name in names
        )


def _figures(there: Elsewhere) -> list[Figure]:
    count = there.bench.size(100, 8)
    table = f'[executors.far]\nkind = "ssh"\nhost = "{there.address}"\nslots = {SLOTS}\n'
    write(f"{there.workspace}/mlbuild.toml", f'[workspace]\nname = "bench"\n{table}')
    many = f'[genrule(name = "n%d" % n, outs = ["n%d.txt" % n], cmd = "sleep {PAUSE}; echo > $@")'
    write(f"{there.workspace}/many/BUILD.ml", f"{many} for n in range({count})]\n")
    one = 'genrule(name = "{0}", srcs = {1}, outs = ["{0}.txt"], cmd = "{2} > $@")\n'
    write(
        f"{there.workspace}/BUILD.ml",
        one.format("trivial", "[]", "echo")
        + one.format("first", '["big.bin"]', "head -c 9 big.bin")
        + one.format("second", '["big.bin"]', "tail -c 9 big.bin"),
    )
    there.build("//:trivial")
    return [_trivial(there), _many(there, count), _large(there)]


def _trivial(there: Elsewhere) -> Figure:
    taken = medians(
        {
            "ours": lambda: there.build("--rerun", "//:trivial"),
            "ssh": lambda: there.seconds(["ssh", there.address, "true"]),
            "start": lambda: there.seconds(_START),
        },
        repeats=there.bench.size(9, 1),
    )
    what = "a trivial action over ssh (more: the start of the runner)"
    return Figure(
        what, "`ssh host true`", taken["ours"], taken["ssh"], factor=3, more=taken["start"]
    )


def _many(there: Elsewhere, count: int) -> Figure:
    taken = there.build("//many/...")
    what = f"{count} actions of {PAUSE:g} s over ssh, {SLOTS} slots"
    return Figure(what, "slots never idle", taken, count * PAUSE / SLOTS, factor=1 / BUSY)


def _large(there: Elsewhere) -> Figure:
    size = there.bench.size(1 << 30, 16 << 20)
    with open(f"{there.workspace}/big.bin", "wb") as file:
        file.writelines(os.urandom(1 << 20) for _ in range(size >> 20))
    there.build("//:first")
    before = there.held()
    there.build("//:second")
    moved = (there.held() - before) / 2**20
    what = f"moved for an action whose input of {size >> 20:,} MiB is on the host"
    return Figure(what, "all of it", moved, size / 2**20, unit="MiB", most=MOVED)
