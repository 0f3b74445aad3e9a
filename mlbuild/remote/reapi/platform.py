"""Platform: the properties that tell a server of the Remote Execution API which worker will do."""

import re
from collections.abc import Mapping, Sequence

from mlbuild.core.action import Run
from mlbuild.core.gpus import GpuWish, parse_wishes
from mlbuild.errors import InputError, did_you_mean
from mlbuild.exec.base import Gpu
from mlbuild.exec.gpus import offers

_PLACE = re.compile(r"\{([^{}]*)\}")


def properties(
    template: Mapping[str, str], run: Run, *, name: str, gpus: Sequence[Gpu] = ()
) -> tuple[tuple[str, str], ...]:
    """Return the properties for `run`, sorted, from the template of the executor `name`.

    A property that speaks of something that the action does not ask for is left out. `gpus` are
    those of the workers, which decide which of several wishes counts.
    """
    known = _values(run, _wish(run, gpus))
    found = []
    for key, text in sorted(template.items()):
        places = _PLACE.findall(text)
        for place in places:
            if place not in known:
                raise InputError(
                    f"`executors.{name}.platform.{key}` names `{{{place}}}`, which is nothing",
                    hints=did_you_mean(place, tuple(known)),
                )
        if all(known[place] for place in places):
            found.append((key, _PLACE.sub(lambda match: known[match[1]], text)))
    return tuple(found)


def _wish(run: Run, gpus: Sequence[Gpu]) -> GpuWish | None:
    """Return the first wish that `gpus` can fulfil, the first of all where none can."""
    wishes = parse_wishes(run.gpus)
    able = [offer.wish for offer in offers(wishes, gpus)]
    return next(iter((*able, *wishes)), None)


def _values(run: Run, wish: GpuWish | None) -> dict[str, str]:
    """Return what may stand in braces; "" for what the action does not ask for."""
    return {
        "cpus": str(run.cpus),
        "memory": str(run.memory or ""),  # bytes
        "memory_mib": _mib(run.memory),
        "disk": str(run.disk or ""),  # bytes
        "disk_mib": _mib(run.disk),
        "gpus": str(wish.count) if wish else "",
        "gpu": wish.model if wish else "",
        "network": "on" if run.network else "off",
        "spot": "true" if run.spot else "",
    }


def _mib(size: int) -> str:
    return str(-(-size >> 20)) if size else ""
