"""Slots of a machine that runs orders: never too many held, and who waits hears at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from mlbuild.remote.machine.slots import Slots
from mlbuild.store.disk import DiskStore, open_store

PATIENCE = 30.0  # seconds for what must happen


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    with open_store(str(tmp_path / "store")) as made:
        yield made


def test_a_free_slot_is_taken_without_waiting(store: DiskStore) -> None:
    waits: list[str] = []

    with Slots(store, 2).held(1, waits.append), Slots(store, 2).held(1, waits.append):
        pass

    assert waits == []


def test_who_waits_goes_on_when_a_slot_is_given_back(store: DiskStore) -> None:
    asked, waits = Event(), []

    def wait(what: str) -> None:
        waits.append(what)
        asked.set()

    def second() -> bool:
        with Slots(store, 1).held(1, wait):
            return first_has_it

    with ThreadPoolExecutor(1) as threads:
        with Slots(store, 1).held(1, wait):
            first_has_it = True
            other = threads.submit(second)
            assert asked.wait(PATIENCE)
            first_has_it = False

        assert not other.result(PATIENCE)
    assert set(waits) == {"one of the 1 slots"}


def test_a_wide_command_has_all_slots_or_none(store: DiskStore) -> None:
    class Enough(Exception):  # noqa: N818 - ends the waiting
        pass

    def wait(what: str) -> None:
        raise Enough(what)

    with Slots(store, 2).held(1, wait):
        with pytest.raises(Enough, match="2 slots"), Slots(store, 2).held(8, wait):
            pass
        with Slots(store, 2).held(1, wait):  # what it could not use is free
            pass


def test_the_slot_of_a_killed_holder_is_free(store: DiskStore) -> None:
    program = (
        "import sys, time\n"
        "from mlbuild.remote.machine.slots import Slots\n"
        "from mlbuild.store.disk import open_store\n"
        "with open_store(sys.argv[1]) as store, Slots(store, 1).held(1, print):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    words = [sys.executable, "-c", program, store.root]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        waits: list[str] = []

        def wait(what: str) -> None:
            waits.append(what)
            os.kill(holder.pid, signal.SIGKILL)

        with Slots(store, 1).held(1, wait):
            pass

    assert waits


def test_what_lies_in_the_way_of_the_fifo_is_removed(store: DiskStore) -> None:
    place = Path(store.root) / "remote" / ".slots"
    place.parent.mkdir(exist_ok=True)
    place.write_text("no FIFO")
    asked = Event()

    def second() -> bool:
        with Slots(store, 1).held(1, lambda _: asked.set()):
            return True

    with ThreadPoolExecutor(1) as threads:
        with Slots(store, 1).held(1, lambda _: None):
            other = threads.submit(second)
            assert asked.wait(PATIENCE)
        assert other.result(PATIENCE)
