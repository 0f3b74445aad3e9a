"""What a runner holds of its machine, and until when."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from mlbuild import __version__
from mlbuild.core.action import Action, Output, Run
from mlbuild.exec.host import platform_id
from mlbuild.remote.control import Control
from mlbuild.remote.freight import freight_in
from mlbuild.remote.machine.runner import run_order
from mlbuild.remote.machine.site import Site
from mlbuild.remote.order import Order, encode, order_id
from mlbuild.remote.state import State
from mlbuild.remote.terms import Terms
from mlbuild.shared.base import Bucket
from tests.unit.test_gpus import A100, ROWS, fake_driver

SHOW = 'printf %s "$CUDA_VISIBLE_DEVICES" > "$MLBUILD_OUT/o"'
PATIENCE = 30.0  # seconds for what must happen
GPU = "gpu-GPU-bbb"  # the lock of the T4


@dataclass
class Looking:
    """A bucket that shows what is written, and which locks there are at that moment."""

    bucket: Bucket
    locks: Path
    look: Callable[[str, bytes, list[str]], None]

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        self.look(name, content, os.listdir(self.locks) if self.locks.exists() else [])
        return self.bucket.write(name, content, fresh=fresh)

    def __getattr__(self, name: str) -> object:
        return getattr(self.bucket, name)


def looking(site: Site, look: Callable[[str, bytes, list[str]], None]) -> Bucket:
    found: Any = Looking(site.bucket(), Path(site.root) / "locks", look)
    return cast("Bucket", found)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Leave the process as it was: a runner has it to itself."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(one) for one in numbers]
    yield
    for number, was in zip(numbers, before, strict=True):
        signal.signal(number, was)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a machine with an A100 and a T4."""
    (tmp_path / "driver").mkdir()
    return Site(str(tmp_path / "store"), {"PATH": fake_driver(tmp_path / "driver", ROWS)})


def ran(site: Site, run: Run, bucket: Bucket, *, inside: str = "process") -> State:
    """Run a command as an order that lies in the bucket; return how it ended."""
    action = Action("//:it", "//:it", "process", run, outputs=(Output("o"),), folder="f")
    plain = inside == "process"
    order = Order("k" * 64, __version__, action, (), {}, platform_id(), plain=plain)
    control, id_ = Control(bucket), order_id(encode(order))
    control.keep_order(id_, encode(order))
    return run_kept(id_, site, bucket, inside=inside)


def run_kept(id_: str, site: Site, bucket: Bucket, *, inside: str) -> State:
    """Run an order that lies in the bucket; return how it ended."""
    control = Control(bucket)
    run_order(
        id_,
        site,
        control=control,
        freight=freight_in(bucket),
        terms=Terms(inside=inside),
        caller_env={},
        attempt="a",
        pause=0.05,
    )
    state = control.state(id_)
    assert state is not None
    return state


def shell(command: str, **asked: object) -> Run:
    return replace(Run(argv=(("/bin/sh",), ("-c",), (command,))), **asked)  # type: ignore[arg-type]


def test_a_gpu_goes_back_before_anything_is_sent(site: Site) -> None:
    held: list[tuple[str, bool]] = []

    def look(name: str, content: bytes, locks: list[str]) -> None:
        what = json.loads(content)["phase"] if name.endswith("/state") else "piece"
        held.append((what, GPU in locks))

    state = ran(site, shell(SHOW, gpus="H100, T4"), looking(site, look))

    assert (state.phase, state.ended["exit_code"], state.gpus[0][0]) == ("ended", 0, "GPU-bbb")
    assert ("running", True) in held
    sent = [one for one in held if one[0] in {"piece", "ended"}]
    assert len(sent) > 2  # the order, what it made, the end
    assert not any(with_gpu for _, with_gpu in sent)


@contextmanager
def runner(site: Site, run: Run, *, inside: str) -> Iterator[int]:
    """Have a runner in a process of its own; yield its number."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os.setsid()
            ran(site, run, site.bucket(), inside=inside)
        os._exit(0)
    try:
        yield pid
    finally:
        with suppress(ChildProcessError, ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def sleeping(seconds: str) -> int:
    """Return the process that sleeps so long, once there is one."""
    wanted = f"sleep\0{seconds}\0".encode()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if place.read_bytes() == wanted:
                    return int(place.parent.name)
        time.sleep(0.02)
    raise AssertionError("nobody sleeps")


def opened(pid: int) -> set[int]:
    """Return the numbers of the files that a process holds open."""
    found = set()
    for place in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(place.stat().st_ino)
    return found


@pytest.mark.parametrize("inside", ["process", "sandbox"])
def test_a_command_holds_its_gpus_itself(site: Site, inside: str) -> None:
    seconds = f"600.{os.getpid()}"
    place = Path(site.root) / "locks" / GPU

    with runner(site, shell(f"exec sleep {seconds}", gpus="T4"), inside=inside):
        pid = sleeping(seconds)
        is_held = place.stat().st_ino in opened(pid)
        os.kill(pid, signal.SIGKILL)

    assert is_held


def test_what_a_killed_runner_left_is_ended_before_its_gpu_is_lent_again(site: Site) -> None:
    seconds = f"601.{os.getpid()}"
    away = f"setsid sleep {seconds} 0<&- & wait"
    with runner(site, shell(away, gpus="T4"), inside="process") as killed:
        left = sleeping(seconds)
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
    with site.open() as store:
        assert not store.key_lock(GPU).try_acquire()

    gone = f"[ ! -e /proc/{left} ] || grep -q '^State:.*Z' /proc/{left}/status"
    state = ran(site, shell(gone, gpus="T4"), site.bucket())

    assert (state.phase, state.ended["exit_code"], state.gpus[0][0]) == ("ended", 0, "GPU-bbb")


def test_what_is_for_a_sandbox_is_not_run_as_a_plain_process(site: Site) -> None:
    action = Action("//:it", "//:it", "process", shell(SHOW), outputs=(Output("o"),))
    order = Order("k" * 64, __version__, action, (), {}, platform_id())
    control, id_ = Control(site.bucket()), order_id(encode(order))
    control.keep_order(id_, encode(order))

    state = run_kept(id_, site, site.bucket(), inside="process")

    assert state.phase == "failed"
    assert state.fault is not None
    assert "would be taken for what they make" in state.fault.message
    assert order_id(encode(replace(order, plain=True))) != id_  # nor is its outcome found


def test_who_waits_for_a_gpu_names_its_holder_and_holds_no_slot(site: Site) -> None:
    waits: list[tuple[str, list[str]]] = []
    with site.open() as store:
        lock = store.key_lock(GPU)
        assert lock.try_acquire()
        lock.announce("//:other (process 7)")

        def look(name: str, content: bytes, locks: list[str]) -> None:
            said = json.loads(content)["waits"] if name.endswith("/state") else ""
            if said and lock.held:
                waits.append((said, [one for one in locks if one.startswith("slot")]))
                lock.release()

        state = ran(site, shell(SHOW, gpus="H100, T4"), looking(site, look))

    assert waits == [("1 H100 GPU or 1 T4 GPU, lent to //:other (process 7)", [])]
    assert state.phase == "ended"


def test_a_machine_that_can_grant_no_wish_says_what_it_has(site: Site) -> None:
    state = ran(site, shell(SHOW, gpus="H100:4, A100:2"), site.bucket())

    assert state.fault is not None
    assert state.fault.kind == "host"
    assert state.fault.message == (
        f"`//:it` needs 4 H100 GPUs or 2 A100 GPUs: `{site.host}` has 1 {A100}, 1 Tesla T4"
    )


def test_nothing_starts_on_a_disk_that_is_too_full_and_that_may_pass(site: Site) -> None:
    state = ran(site, shell("touch $MLBUILD_OUT/o", disk=1 << 60), site.bucket())

    assert state.fault is not None
    assert state.fault.kind == "outage"  # tried again
    assert "`//:it` needs 1073741824.0 GiB of disk" in state.fault.message
    assert f"GiB free for `{site.root}`" in state.fault.message
    assert "cache gc" in state.fault.hints[0]


def test_more_memory_than_the_machine_has_is_refused(site: Site) -> None:
    state = ran(site, shell("touch $MLBUILD_OUT/o", memory=1 << 60), site.bucket())

    assert state.fault is not None
    assert state.fault.kind == "host"
    assert f"MiB of memory, and `{site.host}` has" in state.fault.message
