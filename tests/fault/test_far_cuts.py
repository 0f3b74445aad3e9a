"""Jobs on another host while connections are cut and processes killed: nothing is lost or doubled.

The suite makes a few cuts; `make test-cuts` makes many. The seed of a failure is in its name.
"""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests import far, ssh
from tests.far import led, log_of, until
from tests.harness import Build
from tests.proxy import listening, tear

MANY = int(os.environ.get("FAR_CUTS", "0"))
LINES = 10_000


class Wire:
    """A way to a host that breaks after so many bytes, again and again."""

    def __init__(self, port: int, *, seed: int, cuts: int, least: int, most: int) -> None:
        self.port = 0  # where clients connect to
        self.cuts = 0  # that were made
        self._to = port
        self._chance = random.Random(seed)  # noqa: S311 - the same cuts each time
        self._left = cuts
        self._range = (least, most)
        self._door = threading.Lock()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            with self._door:
                budget = [self._chance.randint(*self._range) if self._left > 0 else 1 << 60]
            back = threading.Thread(target=self._pass, args=(server, client, budget), daemon=True)
            back.start()
            self._pass(client, server, budget)
            back.join()
        with suppress(OSError):
            client.close()

    def _pass(self, one: socket.socket, other: socket.socket, budget: list[int]) -> None:
        """Pass on bytes until the budget of the connection is spent; then tear it down."""
        with suppress(OSError):
            while content := one.recv(1 << 14):
                budget[0] -= len(content)
                if budget[0] < 0:
                    self._cut(one, other, budget)
                    return
                other.sendall(content)
            other.shutdown(socket.SHUT_WR)

    def _cut(self, one: socket.socket, other: socket.socket, budget: list[int]) -> None:
        with self._door:
            if budget[0] > -(1 << 50):
                budget[0] = -(1 << 60)
                self.cuts += 1
                self._left -= 1
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            tear(end)


@contextmanager
def wire(host: ssh.Host, *, seed: int, cuts: int, least: int, most: int) -> Iterator[Wire]:
    made = Wire(host.port, seed=seed, cuts=cuts, least=least, most=most)
    with listening(made.serve) as port:
        made.port = port
        yield made


@pytest.fixture
def host(far_host: ssh.Host) -> ssh.Host:
    return far_host


def talkative(build: Build) -> str:
    """Add a target that reads 3 MiB, says much and writes 3 MiB; return the digest of that."""
    parts = [os.urandom(1 << 20) for _ in range(3)]
    for number, part in enumerate(parts):
        build.file(f"big{number}.bin", part)
    build.file(
        "talk.py",
        "import os, sys, time\n"
        f"for n in range({LINES}):\n"
        "    print('line', n, flush=n % 100 == 0)\n"
        "    if n % 500 == 0: time.sleep(0.02)\n"
        "os.mkdir(sys.argv[1])\n"
        "for n in range(3):\n"
        "    part = open(f'big{n}.bin', 'rb').read()\n"
        "    open(f'{sys.argv[1]}/back{n}.bin', 'wb').write(part[::-1])\n",
    )
    build.file(
        "BUILD.ml",
        'process(name = "net", script = "talk.py", srcs = glob(["*.bin"]),\n'
        '        args = ["$(output back)"], out_trees = ["back"])\n',
    )
    return hashlib.sha256(b"".join(part[::-1] for part in parts)).hexdigest()


def made(build: Build) -> str:
    place = build.root / "mlbuild-out" / "net" / "back"
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(place.iterdir()))).hexdigest()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(MANY or 1))
def test_a_log_and_outputs_arrive_whole_over_many_cuts(
    build: Build, host: ssh.Host, seed: int
) -> None:
    wanted = talkative(build)

    led(build, host).run("doctor", "--executor", "gpubox")  # so that the runner is there

    with wire(host, seed=seed, cuts=4, least=300_000, most=2_500_000) as way:
        led(build, host, "retries = 6", address=f"ssh://root@127.0.0.1:{way.port}")
        far.client(build, host, f"-oHostKeyAlias=[127.0.0.1]:{host.port}")
        build("//:net")

    lines = log_of(build).splitlines()
    assert way.cuts >= 2
    assert made(build) == wanted
    assert [line for line in lines if line.startswith("line ")] == [
        f"line {n}" for n in range(LINES)
    ]


# Processes that are killed


def counting(build: Build, host: ssh.Host, *, steps: int = 60) -> Build:
    """Add a training on the host that says each step, and goes on where it was."""
    build.file(
        "train.py",
        "import json, os, sys, time\n"
        "context = json.load(open(os.environ['MLBUILD_CONTEXT']))\n"
        "place = context['checkpoint'] + '/step'\n"
        "first = int(open(place).read()) if os.path.exists(place) else 0\n"
        f"for step in range(first, {steps}):\n"
        "    print('step', step, flush=True)\n"
        "    open(place + '.new', 'w').write(str(step + 1))\n"
        "    os.replace(place + '.new', place)\n"
        "    time.sleep(0.01)\n"
        "open(sys.argv[1], 'wb').write(bytes(1 << 20) + b'model')\n",
    )
    build.file(
        "BUILD.ml",
        'train(name = "net", script = "train.py",\n'
        f'      args = ["$(output model.bin)", "{build.root}"],\n'
        '      outs = ["model.bin"])\n',
    )
    return led(build, host)


def store_of(host: ssh.Host) -> Path:
    """Return the store of the other host."""
    return host.folder.parent / "far" / "mlbuild" / "v1"


def jobs(host: ssh.Host) -> dict[str, dict[str, Any]]:
    """Return what the runs on the host say, by order."""
    found = {}
    for path in store_of(host).glob("remote/jobs/*/state"):
        with suppress(OSError, ValueError):
            found[path.parent.name] = json.loads(path.read_text())
    return found


def agents(host: ssh.Host) -> list[int]:
    """Return the processes at the other ends of connections to the host."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                place.name.isdigit()
                and b"mlbuild speaks" in (place / "cmdline").read_bytes()
                and str(host.folder.parent).encode() in (place / "environ").read_bytes()
                and os.getsid(int(place.name)) != int(place.name)
            ):
                found.append(int(place.name))
    return found


def commands(build: Build) -> list[str]:
    """Return the processes that train for this workspace."""
    mark = str(build.root).encode()
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0") if place.name.isdigit() else []
            if mark in words and b"train.py" in words:
                found.append(place.name)
    return found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(MANY or 1))
def test_a_client_that_is_killed_at_any_moment_finds_its_job(
    build: Build, host: ssh.Host, seed: int
) -> None:
    counting(build, host)
    before = set(jobs(host))
    chance = random.Random(seed)  # noqa: S311 - the same moments each time
    for _ in range(2):
        client = build.start("build", *build.flags, "//:net")
        with suppress(subprocess.TimeoutExpired):
            client.wait(chance.uniform(0.2, 2.5))
        client.kill()  # unless it has had the time to end
        client.communicate()

    build("//:net")

    mine = {id_: state for id_, state in jobs(host).items() if id_ not in before}
    assert len(mine) == 1
    assert [state["phase"] for state in mine.values()] == ["ended"]
    lines = [line for line in log_of(build).splitlines() if line.startswith("step")]
    assert lines == [f"step {n}" for n in range(60)]
    assert (build.root / "mlbuild-out/net/model.bin").read_bytes().endswith(b"model")
    until(lambda: not list((build.cache / "tmp").glob("*/*")), "the end of scratch")


@pytest.mark.long
def test_an_agent_or_a_session_that_is_killed_costs_nothing(build: Build, host: ssh.Host) -> None:
    counting(build, host, steps=400)
    client = build.start("build", *build.flags, "//:net")
    until(lambda: "step 20\n" in log_of(build), "training")
    for agent in agents(host):
        os.kill(agent, signal.SIGKILL)
    until(lambda: "step 200\n" in log_of(build), "training")

    _, stderr = client.communicate(timeout=far.PATIENCE)

    assert client.returncode == 0, stderr
    assert log_of(build).splitlines() == [f"step {n}" for n in range(400)]


def test_two_clients_with_one_order_get_one_run(
    build: Build, host: ssh.Host, tmp_path: Path
) -> None:
    counting(build, host, steps=100)
    other = build.copy(tmp_path / "other", cache=tmp_path / "other-cache")
    before = set(jobs(host))

    clients = [one.start("build", *one.flags, "//:net") for one in (build, other)]
    ends = [client.communicate(timeout=far.PATIENCE) for client in clients]

    assert [client.returncode for client in clients] == [0, 0], ends
    assert len(set(jobs(host)) - before) == 1
    for one in (build, other):
        assert log_of(one).splitlines() == [f"step {n}" for n in range(100)]
        assert (one.root / "mlbuild-out/net/model.bin").read_bytes().endswith(b"model")


def test_a_killed_runner_leaves_nothing_half_done(build: Build, host: ssh.Host) -> None:
    counting(build, host, steps=10_000)
    before = set(jobs(host))
    build.edit("mlbuild.toml", "[executors.gpubox]", "[executors.gpubox]\nretries = 0")
    client = build.start("build", *build.flags, "//:net")
    until(lambda: "step 20\n" in log_of(build), "training")
    assert commands(build)
    (state,) = [state for id_, state in jobs(host).items() if id_ not in before]

    os.kill(state["pid"], signal.SIGKILL)
    _, stderr = client.communicate(timeout=far.PATIENCE)

    assert client.returncode == 36
    assert "was killed or lost" in stderr
    assert not [path for path in build.cache.glob("ac/**/*") if path.is_file()]
    until(lambda: not commands(build), "the end of what the runner had started")
