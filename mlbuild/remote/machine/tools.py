"""Tools: those of this machine that are what an order wants, by content and not by place.

A tool that is one program without a library, as uv is, travels where it is lacking.
"""

import subprocess
from collections.abc import Callable
from dataclasses import replace

from mlbuild.errors import HostError
from mlbuild.exec.base import Tool
from mlbuild.remote.order import Wanted


def travels(wanted: Wanted) -> bool:
    """Say whether a tool may be sent to a machine that lacks it."""
    return wanted.content.startswith("uv ")


def carried(name: str, wanted: Wanted, path: str) -> Tool | None:
    """Return the tool that was sent and lies at `path`; None when it is not what is wanted."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.stdout.split()[:2] != wanted.content.split():
        return None
    return Tool(name, path, wanted.mount, "", wanted.content)


def fitting(name: str, wanted: Wanted, resolve: Callable[[str], Tool], *, host: str) -> Tool:
    """Return the tool `name` with the identity that a key says.

    Raises HostError, which names both, where this machine `host` has another one.
    """
    said = ""
    for candidate in _candidates(name, wanted):
        try:
            found = resolve(candidate)
        except HostError as error:
            said = said or error.message
            continue
        if found.content == wanted.content:
            mount = wanted.mount if found.mount and found.mount != found.root else found.mount
            return replace(found, name=name, mount=mount)
        said = f"it has {shown(found.content)}"
    raise HostError(
        f"`{host}` lacks the `{name}` that this build uses, {shown(wanted.content)}: {said}",
        hints=(_cure(name, wanted, host),),
    )


def _candidates(name: str, wanted: Wanted) -> list[str]:
    """Return what the tool may be called on a machine whose first choice is another one."""
    kind, _, version = wanted.content.partition(" ")
    if kind != "python":
        return [name]
    exact = f"python@{version.partition(' ')[0]}"
    return list(dict.fromkeys((name, exact)))


def shown(content: str) -> str:
    """Return an identity in few words."""
    kind, _, rest = content.partition(" ")
    version, _, hash_ = rest.partition(" ")
    return " ".join(filter(None, (kind, version, hash_ and f"({hash_[:12]})")))


def _cure(name: str, wanted: Wanted, host: str) -> str:
    words = wanted.content.split()
    if words[0] in {"python", "uv"} and len(words) > 1:
        return f"install {words[0]} {words[1]}, the same build of it, on `{host}`"
    return f"make `{name}` the same on both machines"
