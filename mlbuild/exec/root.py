"""Root: an image that was unpacked into a tree, as the root file system of an action.

The tree holds `image.json` and `rootfs/` (docs/containers.md); `rules/tools/image.py` makes it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Job, Tool

# What the contract puts at the top of the file system: never taken from an image.
RESERVED = frozenset(
    {
        *("proc", "sys", "dev", "tmp"),
        *("work", "out", "checkpoint", "cache", "caller", "context.json"),
    }
)
ETC = ("resolv.conf", "hosts")  # of the host's network, for which each tree has room


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system on this host."""

    name: str  # hash of the tree: equal names, equal images
    files: str  # absolute path of the folder that is to be `/`
    architecture: str  # as images call it: `amd64`
    env: Mapping[str, str]
    shown: tuple[str, ...]  # names of the top folder that an action sees, sorted


def root_of(job: Job) -> Root | None:
    """Return the Root of a job, None when it runs on the host's own files.

    Raises InputError for an input that is no unpacked image, HostError for a host tool that would
    have to lie where the image's files are.
    """
    run = job.run
    if not run.root:
        return None
    staged = next(one for one in job.inputs if one.path == run.root)
    try:
        with open(f"{staged.place}/image.json", encoding="utf-8") as file:
            said = json.load(file)
        env = {str(name): str(value) for name, value in said["env"].items()}
        architecture = str(said["architecture"])
        names = os.listdir(f"{staged.place}/rootfs")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"`{run.root}` is no unpacked image, so nothing can run in it",
            hints=("name a container_environment",),
        ) from error
    for tool in job.tools.values():
        _check_tool(tool)
    mounted = {tool.mount.split("/")[1] for tool in job.tools.values()}
    shown = tuple(sorted(set(names) - RESERVED - mounted))
    return Root(staged.content.digest.hash, f"{staged.place}/rootfs", architecture, env, shown)


def _check_tool(tool: Tool) -> None:
    if not tool.mount:
        raise HostError(
            f"the host's `{tool.name}` cannot be used inside an image",
            hints=("name the program as it is in the image",),
        )
