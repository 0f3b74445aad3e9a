"""Gpus: which there are on this host, and which of them will do (`leases.py` lends them)."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlbuild.core.gpus import GpuWish
from mlbuild.errors import HostError
from mlbuild.exec.base import Gpu

TOLD = "/proc/driver/nvidia/gpus"  # where the driver has a folder for each GPU
_QUERY = ("--query-gpu=uuid,name,driver_version,memory.total", "--format=csv,noheader")
_CUDA = re.compile(r"CUDA (?:[A-Z]+ )?Version\s*:\s*(\d[\d.]*)")
_PATIENCE = 30.0  # seconds that nvidia-smi may take: it wakes the driver
# Beside its own node, what a program needs to talk to any GPU.
_COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_NUMBERED = re.compile(r"nvidia\d+")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a machine has for one wish: as many of `among` as it says will do."""

    wish: GpuWish
    among: tuple[Gpu, ...]


def offers(
    wishes: Sequence[GpuWish], found: Sequence[Gpu], *, alike: bool = False
) -> tuple[Offer, ...]:
    """Return what `found` has for each of `wishes` that it can fulfil, in their order.

    With `alike` for the first of these only, and only GPUs that are like the first that fits.
    """
    able = []
    for wish in wishes:
        among = tuple(gpu for gpu in found if wish.fits(gpu.name, gpu.memory))
        if alike:
            among = tuple(gpu for gpu in among if str(gpu) == str(among[0]))
        if len(among) >= wish.count:
            able.append(Offer(wish, among))
    return tuple(able[:1] if alike else able)


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

    def offers(self, wishes: Sequence[GpuWish], *, alike: bool = False) -> tuple[Offer, ...]:
        """Return what there is for each of `wishes` that can be fulfilled (`offers`)."""
        return offers(wishes, self.found, alike=alike)

    def typical(self, wishes: Sequence[GpuWish]) -> Gpu | None:
        """Return one of those that `wishes` get where all must be alike, or else would get."""
        for offer in self.offers(wishes, alike=True):
            return offer.among[0]
        fitting = (g for wish in wishes for g in self.found if wish.fits(g.name, g.memory))
        return next(fitting, None)

    def lack(self, wishes: Sequence[GpuWish], *, alike: bool = False) -> str:
        """Return "" when one of `wishes` can be fulfilled, else what there is, in words."""
        if self.offers(wishes, alike=alike):
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


def nodes(gpus: Sequence[Gpu], *, folder: str = "/dev", told: str = TOLD) -> list[str]:
    """Return the device files that programs need for these GPUs, and for no others if possible.

    `told` is where the driver says which GPU has which number.
    """
    numbers = {uuid: number for _, uuid, number in said_of(told) if number.isdigit()}
    wanted = {f"nvidia{numbers[gpu.uuid]}" for gpu in gpus if gpu.uuid in numbers}
    names = sorted(os.listdir(folder))
    if len(wanted) < len(gpus):  # not told: all of them, and CUDA_VISIBLE_DEVICES decides
        wanted = {name for name in names if _NUMBERED.fullmatch(name)}
    return [f"{folder}/{name}" for name in names if name in wanted or name in _COMMON]


def said_of(told: str) -> Iterator[tuple[str, str, str]]:
    """Yield the driver's file about each GPU, its UUID and the number of its device file.

    As far as it tells: a number may be "", and where there is no driver there is nothing.
    """
    try:
        for name in sorted(os.listdir(told)):
            place = f"{told}/{name}/information"
            with open(place, encoding="utf-8", errors="replace") as file:
                fields = dict(line.strip().partition(":")[::2] for line in file)
            if uuid := fields.get("GPU UUID", "").strip():
                yield place, uuid, fields.get("Device Minor", "").strip()
    except OSError:
        return


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
