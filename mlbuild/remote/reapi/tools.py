"""Tools: host tools as part of an input root.

What is sent of an interpreter are the files that its identity is taken of: what decides a key is
what runs. The shell is part of the platform, like `/usr`, and stays where it is.
"""

import glob
import os

from mlbuild.errors import HostError
from mlbuild.exec.base import Tool
from mlbuild.exec.toolchain import library
from mlbuild.exec.view import on_host
from mlbuild.remote.reapi.folder import Folder
from mlbuild.remote.reapi.packer import Packer

_HOST = "host"  # the identity of what is part of the platform
_PYTHON = "/python"  # where an interpreter appears that lies in /usr here


def seen_at(tool: Tool, here: str, *, shipped: bool) -> str:
    """Return where an action finds the executable of `tool`; the input root is at `here`."""
    if not shipped or tool.content == _HOST:
        return on_host(tool)
    return "/".join(filter(None, (here + _place(tool), tool.executable)))


def _place(tool: Tool) -> str:
    """Return what is `tool.root` here, as a path from the input root that begins with a slash."""
    return tool.mount or _PYTHON


def add_tool(root: Folder, tool: Tool, *, packer: Packer) -> None:
    """Add to `root` what a worker needs of `tool` that it does not have itself."""
    if tool.content == _HOST:
        return
    place = _place(tool).strip("/")
    if tool.executable:
        root.put(place, packer.tree(tool.root, tool.content, names=_files(tool)))
        return
    root.put(place, packer.single(tool.root))


def _files(tool: Tool) -> list[str]:
    """Return the files of an interpreter, relative to its root."""
    executable = f"{tool.root}/{tool.executable}"
    short = ".".join(tool.content.split()[1].split(".")[:2])
    stdlib = next(
        (
            folder
            for folder in (f"{tool.root}/{lib}/python{short}" for lib in ("lib", "lib64"))
            if os.path.isfile(f"{folder}/os.py")
        ),
        "",
    )
    if not stdlib:
        raise HostError(
            f"the standard library of `{tool.name}` is not below `{tool.root}`",
            hints=('set `tools = "worker"` where the workers have the same interpreter',),
        )
    shared = glob.glob(f"{tool.root}/lib/libpython{short}*.so*")
    found = [executable, *sorted(shared), *library(stdlib)]
    return [os.path.relpath(path, tool.root) for path in found]
