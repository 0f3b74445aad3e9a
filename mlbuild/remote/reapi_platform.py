"""Platform: the properties that tell a server of the Remote Execution API which worker will do."""

import re
from collections.abc import Mapping

from mlbuild.core.action import Run
from mlbuild.core.gpus import parse_wish
from mlbuild.errors import InputError, did_you_mean

_PLACE = re.compile(r"\{([^{}]*)\}")


def properties(template: Mapping[str, str], run: Run, *, name: str) -> tuple[tuple[str, str], ...]:
    """Return the properties for `run`, sorted, from the template of the executor `name`.

    A property that speaks of something that the action does not ask for is left out.
    """
    known = _values(run)
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


def _values(run: Run) -> dict[str, str]:
    """Return what may stand in braces; "" for what the action does not ask for."""
    wish = parse_wish(run.gpus) if run.gpus else None
    return {
        "cpus": str(run.cpus),
        "memory": str(run.memory or ""),  # bytes
        "memory_mib": str(-(-run.memory >> 20) or "") if run.memory else "",
        "gpus": str(wish.count) if wish else "",
        "gpu": wish.model if wish else "",
        "network": "on" if run.network else "off",
    }
