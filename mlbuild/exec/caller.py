"""Caller: the files and folders that the caller's variables name, shown below `/caller`.

They get names of their own there: so they cannot cover anything, and no host path is seen.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlbuild.exec.base import Job

_BETWEEN_PATHS = re.compile(r"([\s,]+|:(?=/(?!/)))")  # the colon of `https://` is none

_SCHEMES = ("file://", "unix://")
_ENGINE = ("DOCKER_HOST", "unix:///var/run/docker.sock")  # the name, and where it is by default


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be mounted, and the variables that name it."""

    variables: Mapping[str, str]
    mounts: tuple[tuple[str, str], ...] = ()  # host path, path inside


def shown(job: Job) -> Shown:
    """Return the caller's variables, with the paths in them as the action sees them.

    Only an action with the network sees such paths.
    """
    if not job.run.network:
        return Shown(job.caller_env)
    caller_env = dict(job.caller_env)
    if _ENGINE[0] in job.run.caller_env:
        caller_env.setdefault(*_ENGINE)
    variables: dict[str, str] = {}
    mounts: list[tuple[str, str]] = []
    for name, value in caller_env.items():
        words = _BETWEEN_PATHS.split(value)
        for at, word in enumerate(words):
            scheme = next((one for one in _SCHEMES if word.startswith(f"{one}/")), "")
            path = os.path.normpath(word.removeprefix(scheme))
            if not os.path.isabs(path) or path.startswith(("//", "/usr/")) or path in {"/", "/usr"}:
                continue
            if os.path.exists(path):
                inside = f"/caller/{len(mounts)}/{os.path.basename(path)}"
                mounts.append((path, inside))
                words[at] = scheme + inside
        variables[name] = "".join(words)
    return Shown(variables, tuple(mounts))
