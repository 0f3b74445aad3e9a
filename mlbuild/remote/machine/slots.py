"""Slots: how many CPUs the orders of a machine use together.

Each is a lock in the store of the machine, so it is free when its holder has ended in any way. Who
gives one back says so through a FIFO to those who wait: nobody looks again and again in vain.
"""

import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlbuild.store import files
from mlbuild.store.disk import DiskStore
from mlbuild.store.locks import KeyLock

LOOK = 0.25  # seconds between two looks anyway: a holder that was killed says nothing
_EAR = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW  # a writer too, else it would end
_MOUTH = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class Slots:
    """The slots of a machine: `limit` of them, in its store."""

    def __init__(self, store: DiskStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._place = f"{store.root}/remote/.slots"

    @contextmanager
    def held(self, cpus: int, wait: Callable[[str], None]) -> Iterator[None]:
        """Hold a slot for each CPU, or all of them; `wait` hears what for, again and again."""
        wanted = min(cpus, self._limit)
        held = self._taken(wanted)
        if not held:
            held = self._awaited(wanted, wait)
        try:
            yield
        finally:
            self._give(held)

    def _taken(self, wanted: int) -> list[KeyLock]:
        """Return so many slots; none where not all are free."""
        held: list[KeyLock] = []
        for number in range(self._limit):
            lock = self._store.key_lock(f"slot-{number}")
            if lock.try_acquire():
                held.append(lock)
            if len(held) == wanted:
                return held
        for lock in held:
            lock.release()
        return []

    def _awaited(self, wanted: int, wait: Callable[[str], None]) -> list[KeyLock]:
        ear = self._ear()
        try:
            ears = select.poll()
            ears.register(ear, select.POLLIN)
            while not (held := self._taken(wanted)):
                wait(f"one of the {self._limit} slots" if wanted == 1 else f"{wanted} slots")
                if ears.poll(LOOK * 1000):
                    with suppress(BlockingIOError):  # somebody else was woken by it
                        os.read(ear, 1)
            return held
        finally:
            os.close(ear)

    def _ear(self) -> int:
        """Return the end of the FIFO at which one hears that a slot is free."""
        os.makedirs(os.path.dirname(self._place), 0o700, exist_ok=True)
        while True:
            with suppress(FileExistsError):
                os.mkfifo(self._place, 0o600)
            with suppress(FileNotFoundError):
                ear = os.open(self._place, _EAR)
                if stat.S_ISFIFO(os.fstat(ear).st_mode):
                    return ear
                os.close(ear)
                files.remove(self._place)

    def _give(self, held: list[KeyLock]) -> None:
        for lock in held:
            lock.release()
        with suppress(OSError):  # nobody waits
            mouth = os.open(self._place, _MOUTH)
            try:
                os.write(mouth, b"!" * len(held))
            finally:
                os.close(mouth)
