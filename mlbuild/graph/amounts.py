"""Amounts: what an action needs of the machine, and how much its results may vary."""

import math
from collections.abc import Mapping
from typing import Any

from mlbuild import lang
from mlbuild.core.gpus import joined, parse_wish
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.units import disk, memory

RESOURCES = ("cpus", "memory", "gpus", "disk", "spot")
DETERMINISM = ("", "bitwise", "metric", "none")


def amounts_of(given: Any) -> Mapping[str, Any]:
    """Return cpus, memory and disk in bytes, gpus, spot; raise InputError for anything else."""
    plain = lang.to_python(given) if given is not None else {}
    for name in plain:
        if name not in RESOURCES:
            raise InputError(f"`resources` has no `{name}`", hints=did_you_mean(name, RESOURCES))
    cpus = plain.get("cpus", 1)
    if type(cpus) is not int or cpus < 1:
        raise InputError(f"`cpus` is a whole number from 1, not {cpus!r}")
    spot = plain.get("spot", False)
    if type(spot) is not bool:
        raise InputError(f"`spot` is `True` or `False`, not {spot!r}")
    return {
        "cpus": cpus,
        "memory": memory(plain["memory"]) if "memory" in plain else 0,
        "gpus": _gpus(plain.get("gpus", "")),
        "disk": disk(plain["disk"]) if "disk" in plain else 0,
        "spot": spot,
    }


def _gpus(given: Any) -> str:
    """Return wishes for GPUs as one text, "" for none; raise InputError for what is none."""
    if type(given) is list:
        return joined([_wish(one) for one in given])
    return "" if str(given).strip() in {"", "0"} else _wish(given)


def _wish(given: Any) -> str:
    """Return one wish as text."""
    if type(given) not in {int, str}:
        raise InputError(f"`gpus` is a number, a text or a list of these, not {given!r}")
    text = str(given).strip()
    parse_wish(text)
    return text


def checked_tolerance(given: Any, determinism: str) -> dict[str, float]:
    """Return how much each metric may differ; raise InputError for what cannot be meant."""
    if determinism not in DETERMINISM:
        raise InputError(
            f"`determinism` is {', '.join(f'`{one}`' for one in DETERMINISM[1:])}, "
            f"not `{determinism}`",
            hints=did_you_mean(determinism, DETERMINISM),
        )
    plain = lang.to_python(given) if given is not None else {}
    if type(plain) is not dict:
        raise InputError('`tolerance` is a dict, such as `{"accuracy": 0.01}`')
    for name, bound in plain.items():
        if type(bound) not in {int, float} or not 0 <= bound < math.inf:
            raise InputError(
                f"the tolerance of `{name}` is a number from 0, not {bound!r}",
                hints=("it is the largest difference that `mlbuild verify` accepts",),
            )
    if plain and determinism != "metric":
        raise InputError(
            "`tolerance` says how much metrics may differ, and this target does not let them",
            hints=('add `determinism = "metric"`',),
        )
    return {name: float(bound) for name, bound in plain.items()}
