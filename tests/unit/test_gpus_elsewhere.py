"""What a runner holds of its machine, and until when."""

import json
import os
import signal
from collections.abc import Callable, Iterator
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


def ran(site: Site, run: Run, bucket: Bucket) -> State:
    """Run a command as an order that lies in the bucket; return how it ended."""
    action = Action("//:it", "//:it", "process", run, outputs=(Output("o"),), folder="f")
    order = Order("k" * 64, __version__, action, (), {}, platform_id())
    control, id_ = Control(bucket), order_id(encode(order))
    control.keep_order(id_, encode(order))
    run_order(
        id_,
        site,
        control=control,
        freight=freight_in(bucket),
        terms=Terms(inside="process"),
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
