"""Runners that are started by hand, on one order, as if on two machines."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mlbuild import __version__
from mlbuild.core.action import Action, Output, OutputRef, Run
from mlbuild.core.digest import digest_of
from mlbuild.exec.host import platform_id
from mlbuild.remote.control import Control
from mlbuild.remote.freight import bucket_at
from mlbuild.remote.order import Order, encode, order_id
from tests import servers
from tests.harness import Build
from tests.scenario.test_jobs import until

PATIENCE = 60.0  # seconds for what must happen
KEY = "ab12" * 16


class Orders:
    """A bucket, and orders in it."""

    def __init__(self, url: str, build: Build) -> None:
        self.url = url
        self.control = Control(bucket_at(url))
        self._build = build
        self._running = ExitStack()

    def put(self, script: str, *, key: str = KEY) -> str:
        """Keep an order to run a script of a shell; return its name."""
        run = Run(argv=(("/bin/sh",), ("-c",), (f"{script}; echo made > ", OutputRef("o"))))
        action = Action("//:a", "//:a", "run", run, (), (Output("o", "file", "o"),))
        content = encode(Order(key, __version__, action, (), {}, platform_id()))
        self.control.keep_order(order_id(content), content)
        return order_id(content)

    def start(self, word: str, machine: str, *words: str) -> "subprocess.Popen[str]":
        """Start a runner with the store of a machine."""
        place = self._build.root.parent / machine
        told = ("--store", self.url, "--cache-dir", str(place))
        process = self._build.start("runner", word, *told, *words)
        self._running.callback(_end, process)
        return process

    def run(self, word: str, machine: str, *words: str) -> tuple[int, str]:
        """Run a runner to its end; return its exit code and what it said."""
        process = self.start(word, machine, *words)
        _, stderr = process.communicate(timeout=PATIENCE)
        return process.returncode, stderr

    def said(self, id_: str) -> dict[str, Any]:
        """Return the state of an order as it is written."""
        state = self.control.state(id_)
        return {} if state is None else {"phase": state.phase, "pid": state.pid, "log": state.log}

    def log(self, id_: str) -> str:
        """Return what the command of an order has printed by now."""
        state = self.control.state(id_)
        pieces = range(state.chunks if state else 0)
        return b"".join(self.control.log(id_, n) or b"" for n in pieces).decode()

    def close(self) -> None:
        """End all runners."""
        self._running.close()


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def orders(build: Build, tmp_path: Path) -> Iterator[Orders]:
    (tmp_path / "bucket").mkdir()
    found = Orders(f"file://{tmp_path}/bucket", build)
    yield found
    found.close()


def test_a_runner_finds_the_order_by_the_key_of_its_action(orders: Orders) -> None:
    other = orders.put("echo other", key="cd" * 32)
    id_ = orders.put("echo hello")

    code, said = orders.run(KEY[:8], "a")

    assert code == 0, said
    assert orders.said(id_)["phase"] == "ended"
    assert orders.log(id_) == "hello\n"
    assert orders.said(other) == {}


def test_what_has_its_outcome_is_not_run_again(orders: Orders) -> None:
    id_ = orders.put("echo hello")
    orders.run(id_, "a")
    before = orders.said(id_)

    code, said = orders.run(id_, "b")

    assert code == 0
    assert "has its outcome" in said
    assert orders.said(id_) == before


def test_what_failed_is_run_again_with_a_new_log(orders: Orders, tmp_path: Path) -> None:
    newer = encode_version(orders, "99.0")
    orders.run(newer, "a")
    first = orders.said(newer)

    orders.run(newer, "a")

    assert first["phase"] == orders.said(newer)["phase"] == "failed"
    assert first["pid"] != orders.said(newer)["pid"]
    names = sorted(path.name for path in (tmp_path / "bucket" / "jobs" / newer).iterdir())
    assert names == ["claim-00000000", "claim-00000001", "order", "state"]


def encode_version(orders: Orders, version: str) -> str:
    """Keep an order that another version wrote; return its name."""
    content = orders.control.order(orders.put("true"))
    said = json.loads(content or b"")
    changed = json.dumps({**said, "mlbuild": version}, sort_keys=True).encode()
    name = digest_of(changed).hash
    orders.control.keep_order(name, changed)
    return name


@pytest.mark.long
def test_a_second_runner_on_another_machine_leaves_when_the_first_one_lives(
    orders: Orders,
) -> None:
    id_ = orders.put("echo once; sleep 600")
    first = orders.start(KEY, "a")
    until(lambda: orders.log(id_) == "once\n", "its start")

    code, said = orders.run(id_, "b")

    assert code == 0
    assert f"process {first.pid} on `{os.uname().nodename}` has taken it" in said
    assert "another runner that lives" in said
    assert first.poll() is None
    assert orders.said(id_)["pid"] == first.pid


def test_two_runners_at_once_run_it_once(orders: Orders, tmp_path: Path) -> None:
    id_ = orders.put("echo once; sleep 6")

    both = [orders.start(id_, machine) for machine in ("a", "b")]
    codes = [process.wait(PATIENCE) for process in both]

    assert codes == [0, 0]
    assert orders.said(id_)["phase"] == "ended"
    assert orders.log(id_) == "once\n"
    claims = list((tmp_path / "bucket" / "jobs" / id_).glob("claim-*"))
    assert [path.name for path in claims] == ["claim-00000000"]


@pytest.mark.long
def test_a_silent_runner_is_followed_and_tells_nothing_when_it_comes_back(orders: Orders) -> None:
    id_ = orders.put("echo begun; test -e /nowhere || sleep 9")
    first = orders.start(id_, "a")
    until(lambda: orders.log(id_) == "begun\n", "its start")
    os.killpg(first.pid, signal.SIGSTOP)

    second = orders.start(id_, "b", "--patience", "6")
    until(lambda: orders.said(id_)["pid"] == second.pid, "the second one")
    os.killpg(first.pid, signal.SIGCONT)
    codes = [process.wait(PATIENCE) for process in (first, second)]

    assert codes == [0, 0]
    assert orders.said(id_) == {"phase": "ended", "pid": second.pid, "log": len("begun\n")}
    assert orders.log(id_) == "begun\n"


def test_a_killed_runner_is_followed_at_once_on_its_own_machine(orders: Orders) -> None:
    id_ = orders.put("echo begun; sleep 2")
    first = orders.start(id_, "a")
    until(lambda: orders.log(id_) == "begun\n", "its start")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()

    code, said = orders.run(id_, "a")

    assert (code, said) == (0, "")
    assert orders.said(id_)["phase"] == "ended"


@pytest.mark.long
def test_runners_on_a_real_object_store_share_an_order(
    build: Build, weed: servers.ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    weed.use(monkeypatch)
    build.env |= weed.environment()
    orders = Orders(weed.url(weed.prefix()), build)
    try:
        id_ = orders.put("echo once; sleep 6")
        both = [orders.start(KEY[:6], machine) for machine in ("a", "b")]
        said = [process.communicate(timeout=PATIENCE)[1] for process in both]

        assert [process.returncode for process in both] == [0, 0], said
        assert orders.said(id_)["phase"] == "ended"
        assert orders.log(id_) == "once\n"
        assert sum("another runner that lives" in one for one in said) == 1
    finally:
        orders.close()
