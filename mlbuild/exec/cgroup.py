"""Control groups: a limit on an action's memory and processes, counted by the kernel.

A group is made below the one that mlbuild runs in, so that limits set on mlbuild itself hold on.
Version 1 has one hierarchy per controller, version 2 has one for all.
"""

import errno
import os
from dataclasses import dataclass
from functools import cache
from itertools import count
from time import sleep

from mlbuild.errors import HostError

PIDS = 4096

_ROOT = "/sys/fs/cgroup"
_numbers = count()

# A shell adds itself to each of the files before `--`, then becomes the command after it.
_ENTER = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The folders below which groups can be made; `pids` is "" where there is no such limit."""

    version: int
    memory: str
    pids: str


@cache
def hierarchies() -> Hierarchies | None:
    """Return where this process may make groups with a memory limit; None when nowhere."""
    own = _own_groups()
    memory = _writable(f"{_ROOT}/memory", own.get("memory", ""))
    if memory:
        _sweep(memory)
        pids = _writable(f"{_ROOT}/pids", own.get("pids", ""))
        if pids:
            _sweep(pids)
        return Hierarchies(1, memory, pids)
    # Version 2 lets no group that has processes give controllers to its children: ours can only
    # be used if it was delegated empty, its parent if that was delegated to us.
    path = own.get("", "")
    for folder in (f"{_ROOT}{path}".rstrip("/"), os.path.dirname(f"{_ROOT}{path}".rstrip("/"))):
        controllers = _words(f"{folder}/cgroup.subtree_control")
        if folder.startswith(_ROOT) and "memory" in controllers and _is_writable(folder):
            _sweep(folder)
            return Hierarchies(2, folder, "")
    return None


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of one action."""

    version: int
    folders: tuple[str, ...]  # the one that counts memory first

    def enter(self, argv: list[str]) -> list[str]:
        """Return the command line that runs `argv` inside the group."""
        files = [f"{folder}/cgroup.procs" for folder in self.folders]
        return ["/bin/sh", "-c", _ENTER, "sh", *files, "--", *argv]

    def peak_memory(self) -> int:
        """Return the most memory that the group has used, in bytes; 0 when not known."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        words = _words(f"{self.folders[0]}/{name}")
        return int(words[0]) if words else 0

    def was_out_of_memory(self) -> bool:
        """Say whether the kernel has killed a process of the group for its memory."""
        return _kills(self.folders[0], self.version) > 0

    def remove(self) -> None:
        """Remove the group; all its processes have ended."""
        for folder in self.folders:
            for _ in range(50):
                try:
                    os.rmdir(folder)
                    break
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        raise
                    sleep(0.01)  # the kernel is still letting go of the last process


def fresh_name() -> str:
    """Return a name for a group of this process."""
    return f"mlbuild-{os.getpid()}-{next(_numbers)}"


def make(where: Hierarchies, *, memory: int) -> Group:
    """Make a group that may use `memory` bytes, swap included."""
    name = fresh_name()
    folders = [f"{where.memory}/{name}"]
    if where.pids:
        folders.append(f"{where.pids}/{name}")
    group = Group(where.version, tuple(folders))
    try:
        for folder in folders:
            os.mkdir(folder)
        if where.version == 1:
            _write(f"{folders[0]}/memory.limit_in_bytes", memory)
            _write(f"{folders[0]}/memory.memsw.limit_in_bytes", memory, optional=True)
        else:
            _write(f"{folders[0]}/memory.max", memory)
            _write(f"{folders[0]}/memory.swap.max", 0, optional=True)
        _write(f"{folders[-1]}/pids.max", PIDS, optional=True)
    except OSError as error:
        group.remove()
        raise HostError(f"cannot limit an action to {memory} bytes of memory: {error}") from error
    return group


def kills_here() -> int:
    """Return how many processes of the group that we are in the kernel has killed for their memory.

    It can be read where no group can be made. Version 2 counts the groups below with it.
    """
    own = _own_groups()
    if "memory" not in own:
        return _kills(f"{_ROOT}{own.get('', '')}", 2)
    # In a container the mount may show our group as its root.
    folder = f"{_ROOT}/memory{own['memory']}"
    return _kills(folder if os.path.isdir(folder) else f"{_ROOT}/memory", 1)


def _kills(folder: str, version: int) -> int:
    name = "memory.oom_control" if version == 1 else "memory.events"
    words = _words(f"{folder}/{name}")
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def _write(path: str, value: int, *, optional: bool = False) -> None:
    if optional and not os.path.exists(path):
        return
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _own_groups() -> dict[str, str]:
    """Return this process's group per controller; "" is version 2."""
    found: dict[str, str] = {}
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                for controller in controllers.split(","):
                    found[controller] = path
    except OSError:
        pass
    return found


def _writable(mount: str, path: str) -> str:
    """Return the folder of group `path` in a hierarchy of version 1, "" when it is not ours.

    In a container the mount may show our group as its root while its name is the host's.
    """
    for folder in (f"{mount}{path}".rstrip("/"), mount):
        if os.path.isdir(folder):
            return folder if _is_writable(folder) else ""
    return ""


def _is_writable(folder: str) -> bool:
    probe = f"{folder}/mlbuild-{os.getpid()}-probe"
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError:
        return False
    return True


def _sweep(folder: str) -> None:
    """Remove the groups of mlbuild processes that were killed; one with processes stays."""
    for name in os.listdir(folder):
        _, _, rest = name.partition("mlbuild-")
        pid = rest.partition("-")[0]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            try:
                os.rmdir(f"{folder}/{name}")
            except OSError:
                continue
