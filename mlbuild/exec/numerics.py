"""Numerics: the class of a machine whose members round alike, as far as this can be told.

Libraries choose their kernels by what the processor offers, and each kernel adds in an order of
its own: so the last bits of a sum differ between classes, and hardly ever within one.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from os import uname

from mlbuild.exec.base import Gpu

# What each level of the x86-64 psABI adds, in the kernel's words.
LEVELS = (
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
_ARM = ("asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme")


def numerics(gpus: Sequence[Gpu] = ()) -> str:
    """Return the class of this host, for example `x86-64-v3`, with the GPUs that compute."""
    return " + ".join([cpu_class(), *dict.fromkeys(map(str, gpus))])


@cache
def cpu_class() -> str:
    """Return the class of this host's processor."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return class_of(uname().machine, flags_in(file))
    except OSError:
        return uname().machine


def flags_in(lines: Iterable[str]) -> frozenset[str]:
    """Return what every processor of a /proc/cpuinfo offers."""
    found: list[frozenset[str]] = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            found.append(frozenset(value.split()))
    return frozenset.intersection(*found) if found else frozenset()


def class_of(machine: str, flags: frozenset[str]) -> str:
    """Return the class of a processor: its level on x86-64, else its extensions for vectors."""
    if machine == "x86_64":
        level = "x86-64-v1"
        for name, needs in LEVELS:
            if not flags.issuperset(needs.split()):
                break
            level = name
        return level
    return " ".join([machine, *(name for name in _ARM if name in flags)])
