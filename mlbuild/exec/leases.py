"""Leases: who may use which GPU of this host now.

A GPU is lent to one command at a time. The loan is a lock named by the GPU in the store, which all
builds of a user share, and one on the driver's own file about it, which all users of the host can
see. Both end with their holder, in whatever way that ends, and not before its command: that has the
descriptors too, so a GPU is not lent again while processes use it whose caretaker was killed.

Of several wishes the first counts whose GPUs are free; while there is none, the first that gets
them.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from time import sleep

from mlbuild.exec.base import Gpu
from mlbuild.exec.gpus import TOLD, Offer, said_of
from mlbuild.store.locks import KeyLock

LENT_TO = ", lent to "  # in the words of another machine: between what is awaited and who has it
_PAUSE = 0.2  # seconds between two looks at GPUs that are lent
_NAMELESS = -1  # no descriptor: the driver has no file about this GPU


@dataclass(frozen=True, slots=True)
class Lent:
    """GPUs that a command has for itself, and the descriptors of the locks that make it so."""

    gpus: tuple[Gpu, ...] = ()
    locks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Loan:
    """A GPU that is ours, and what makes it so."""

    gpu: Gpu
    key: KeyLock
    claim: int

    @property
    def locks(self) -> tuple[int, ...]:
        """The descriptors that hold it."""
        return (self.key.descriptor, *(() if self.claim == _NAMELESS else (self.claim,)))

    def end(self) -> None:
        """Give it back."""
        if self.claim != _NAMELESS:
            os.close(self.claim)
        self.key.release()


@contextmanager
def lent(
    offered: Sequence[Offer],
    *,
    lock: Callable[[str], KeyLock],
    borrower: str,
    on_wait: Callable[[str], None],
    told: str = TOLD,
) -> Iterator[Lent]:
    """Yield the GPUs of the first of `offered` that are free, which nobody else has meanwhile.

    `lock` returns the lock of a name; `borrower` is what others are told. While none is free
    `on_wait` is called again and again with who has them; it ends the waiting by raising. `told` is
    where the driver has its files.
    """
    places = {uuid: place for place, uuid, _ in said_of(told)}
    while True:
        others: list[str] = []
        for offer in offered:
            loans: list[_Loan] = []
            try:
                others += _take(loans, offer, lock, places)
                if len(loans) == offer.wish.count:
                    for loan in loans:
                        loan.key.announce(borrower)
                    locks = tuple(chain.from_iterable(loan.locks for loan in loans))
                    yield Lent(tuple(loan.gpu for loan in loans), locks)
                    return
            finally:
                # All or nothing: who holds one while it waits for another could wait for ever.
                for loan in loans:
                    loan.end()
        on_wait(", ".join(dict.fromkeys(others)))
        sleep(_PAUSE)


def _take(
    loans: list[_Loan], offer: Offer, lock: Callable[[str], KeyLock], places: Mapping[str, str]
) -> list[str]:
    """Add free GPUs of the offer to `loans`, as many as it takes; return who has others."""
    others = []
    for gpu in offer.among:
        if len(loans) == offer.wish.count:
            break
        key = lock(f"gpu-{gpu.uuid}")
        if not key.try_acquire():
            others.append(key.holder_log() or "another build")
            continue
        claim = _claimed(places.get(gpu.uuid, ""))
        if claim is None:
            key.release()
            others.append("another user of the host")
        else:
            loans.append(_Loan(gpu, key, claim))
    return others


def _claimed(place: str) -> int | None:
    """Return a descriptor that holds the driver's file about a GPU; None when another does."""
    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _NAMELESS
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:  # no file for locks: then each user's own is all there is
        os.close(fd)
        return _NAMELESS
    return fd
