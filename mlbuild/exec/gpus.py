"""Gpus: which there are on this host, and who may use which.

A GPU is lent to one action at a time. The loan is a lock named by the GPU in the store, so that all
builds of a user share them, and a loan ends with its holder, in whatever way that ends.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import sleep

from mlbuild.core.gpus import GpuWish
from mlbuild.errors import HostError
from mlbuild.exec.base import Gpu
from mlbuild.store.locks import KeyLock

_QUERY = ("--query-gpu=uuid,name,driver_version,memory.total", "--format=csv,noheader")
_CUDA = re.compile(r"CUDA (?:[A-Z]+ )?Version\s*:\s*(\d[\d.]*)")
_PATIENCE = 30.0  # seconds that nvidia-smi may take: it wakes the driver
_PAUSE = 0.2  # seconds between two looks at GPUs that are lent
# Beside its own node, what a program needs to talk to any GPU.
_COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_NUMBERED = re.compile(r"nvidia\d+")


class Gpus:
    """The GPUs of a machine, by default of this host.

    `search` is the PATH that nvidia-smi is looked for on. `ask` returns those of another machine,
    which is called `where`.
    """

    def __init__(
        self,
        search: str,
        *,
        ask: Callable[[], tuple[Gpu, ...]] | None = None,
        where: str = "this host",
    ) -> None:
        self._ask = ask or (lambda: _ask(search))
        self._where = where
        self._found: tuple[Gpu, ...] | None = None
        self._why_none = ""

    @property
    def found(self) -> tuple[Gpu, ...]:
        """All GPUs, in the driver's order; asked for once."""
        if self._found is None:
            try:
                self._found = self._ask()
            except HostError as error:
                if self._where != "this host":
                    raise  # it could not be asked
                self._found, self._why_none = (), error.message
        return self._found

    def eligible(self, wish: GpuWish, *, alike: bool = False) -> tuple[Gpu, ...]:
        """Return those that will do; with `alike`, only those that are like the first of them."""
        fitting = tuple(gpu for gpu in self.found if wish.fits(gpu.name))
        return tuple(gpu for gpu in fitting if str(gpu) == str(fitting[0])) if alike else fitting

    def lack(self, wish: GpuWish, *, alike: bool = False) -> str:
        """Return "" when this host can fulfil `wish`, else what it has instead, in words."""
        if len(self.eligible(wish, alike=alike)) >= wish.count:
            return ""
        if not self.found:
            return (
                f"{self._where} has none that can be used: "
                f"{self._why_none or 'nvidia-smi finds none'}"
            )
        names = [gpu.name for gpu in self.found]
        return f"{self._where} has " + ", ".join(
            f"{names.count(name)} {name}" for name in dict.fromkeys(names)
        )


@contextmanager
def lent(
    wish: GpuWish,
    among: Sequence[Gpu],
    *,
    lock: Callable[[str], KeyLock],
    borrower: str,
    on_wait: Callable[[str], None],
) -> Iterator[tuple[Gpu, ...]]:
    """Yield as many of `among` as `wish` says, which nobody else has meanwhile.

    `lock` returns the lock of a name; `borrower` is what others are told. While none is free
    `on_wait` is called again and again with who has them; it ends the waiting by raising.
    """
    while True:
        held: list[tuple[Gpu, KeyLock]] = []
        try:
            others = _take(held, wish.count, among, lock)
            if len(held) == wish.count:
                for _, key in held:
                    key.announce(borrower)
                yield tuple(gpu for gpu, _ in held)
                return
        finally:
            # All or nothing: who holds one while it waits for another could wait for ever.
            for _, key in held:
                key.release()
        on_wait(", ".join(others))
        sleep(_PAUSE)


def _take(
    held: list[tuple[Gpu, KeyLock]],
    count: int,
    among: Sequence[Gpu],
    lock: Callable[[str], KeyLock],
) -> list[str]:
    """Add up to `count` GPUs that are free to `held`; return who has the others."""
    others = []
    for gpu in among:
        if len(held) == count:
            break
        key = lock(f"gpu-{gpu.uuid}")
        if key.try_acquire():
            held.append((gpu, key))
        else:
            others.append(key.holder_log() or "another build")
    return others


def nodes(
    gpus: Sequence[Gpu], *, folder: str = "/dev", told: str = "/proc/driver/nvidia/gpus"
) -> list[str]:
    """Return the device files that programs need for these GPUs, and for no others if possible.

    `told` is where the driver says which GPU has which number.
    """
    numbers = _numbers(told)
    wanted = {f"nvidia{numbers[gpu.uuid]}" for gpu in gpus if gpu.uuid in numbers}
    names = sorted(os.listdir(folder))
    if len(wanted) < len(gpus):  # not told: all of them, and CUDA_VISIBLE_DEVICES decides
        wanted = {name for name in names if _NUMBERED.fullmatch(name)}
    return [f"{folder}/{name}" for name in names if name in wanted or name in _COMMON]


def _numbers(told: str) -> dict[str, str]:
    """Return the number of each GPU's device file, by UUID, as far as the driver tells."""
    found: dict[str, str] = {}
    try:
        for name in os.listdir(told):
            with open(f"{told}/{name}/information", encoding="utf-8", errors="replace") as file:
                fields = dict(line.strip().partition(":")[::2] for line in file)
            uuid, number = fields.get("GPU UUID", ""), fields.get("Device Minor", "")
            if uuid.strip() and number.strip().isdigit():
                found[uuid.strip()] = number.strip()
    except OSError:
        pass
    return found


def _ask(search: str) -> tuple[Gpu, ...]:
    """Ask the driver; raise HostError with its reason where there is no answer."""
    program = shutil.which("nvidia-smi", path=search or None)
    if program is None:
        raise HostError("`nvidia-smi` is not installed, so there is no driver")
    rows = [line.split(",") for line in _output([program, *_QUERY]).splitlines() if line.strip()]
    if not rows:
        return ()
    cuda = _CUDA.search(_output([program]))
    gpus = []
    for row in rows:
        uuid, name, driver, memory = (*(field.strip() for field in row), "", "", "")[:4]
        amount = re.match(r"\d+", memory)
        size = int(amount[0]) << 20 if amount else 0
        gpus.append(Gpu(uuid, name, driver, size, cuda[1] if cuda else ""))
    return tuple(gpus)


def _output(argv: list[str]) -> str:
    import subprocess  # noqa: PLC0415 - only where an action asks for GPUs

    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"`nvidia-smi` does not answer: {error}") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        raise HostError(f"`nvidia-smi` failed: {said or f'exit code {done.returncode}'}")
    return done.stdout
