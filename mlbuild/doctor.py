"""Doctor: what this host can do for builds, each thing with the cure where something is amiss."""

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from mlbuild.errors import HostError, MlbuildError
from mlbuild.exec import cgroup
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.docker_engine import Engine
from mlbuild.exec.gpus import Gpus
from mlbuild.exec.room import free as free_bytes
from mlbuild.exec.toolchain import Toolchain

GIB = 1 << 30
LITTLE, TOO_LITTLE = 10 * GIB, GIB  # bytes free on the disk of the store
SHARED = 512 << 20  # bytes of memory for staged inputs
SKEW = 2.0  # seconds between the clocks of this host and of its disk
OLDEST = 1_700_000_000  # a clock that shows less (November 2023) is wrong
SHM = "/dev/shm"  # noqa: S108 - only looked at
NETWORK_DISKS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre", "ceph"})

Status = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str
    status: Status  # "note": builds work without it
    text: str
    cure: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the fields, for `--json`."""
        return asdict(self)


def findings(cache_dir: str, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything; sorted by name. Nothing here is changed, but for files that are removed.

    `cache_dir` is the folder of the store, which need not exist.
    """
    search = environ.get("PATH", "")
    tools = Toolchain(os.path.join(cache_dir, "tools"), search=search)
    looks: dict[str, Callable[[], Finding]] = {
        "cgroups": _cgroups,
        "clock": lambda: _clock(cache_dir),
        "disk": lambda: _disk(cache_dir),
        "docker": lambda: _docker(environ),
        "git": lambda: _git(search),
        "gpu": lambda: _gpu(search),
        "memory": _memory,
        "python": lambda: _python(tools),
        "remote cache": lambda: Finding("remote cache", "note", "none is configured"),
        "sandbox": lambda: _sandbox(cache_dir),
        "uv": lambda: _uv(tools),
    }
    return [_safely(name, look) for name, look in looks.items()]


def can_build(found: list[Finding]) -> bool:
    """Say whether anything is able to run actions in isolation."""
    status = {one.name: one.status for one in found}
    return "bad" not in {status["disk"], status["python"]} and "ok" in {
        status["sandbox"],
        status["docker"],
    }


def _safely(name: str, look: Callable[[], Finding]) -> Finding:
    """Return what `look` finds; a failure to look is a finding too."""
    try:
        return look()
    except MlbuildError as error:
        return Finding(name, "bad", error.message, "; ".join(error.hints))
    except OSError as error:
        return Finding(name, "bad", f"it could not be looked at: {error}")


def _sandbox(cache_dir: str) -> Finding:
    sandbox = Bubblewrap(os.path.join(cache_dir, "sandbox"))
    why_not = sandbox.available()
    sandbox.close()
    if not why_not:
        return Finding("sandbox", "ok", f"{sandbox.version()} works")
    if "not installed" in why_not:
        cure = "apt-get install bubblewrap"
    elif _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        cure = "sysctl kernel.unprivileged_userns_clone=1"
    elif _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        cure = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap"
    elif _number("/proc/sys/user/max_user_namespaces") == 0:
        cure = "sysctl user.max_user_namespaces=10000"
    else:
        cure = "in a container, allow user namespaces; until then `--executor process` builds"
    return Finding("sandbox", "bad", why_not, cure)


def _docker(environ: Mapping[str, str]) -> Finding:
    try:
        engine = Engine(environ)
    except HostError as error:
        cure = "; ".join(hint for hint in error.hints if "doctor" not in hint)
        if "ermission denied" in error.message:
            cure = "add yourself to the group `docker`, or use a rootless engine"
        text = f"{error.message}: images run in the sandbox"
        return Finding("docker", "note", text, cure or "start an engine, or set DOCKER_HOST")
    try:
        facts = engine.facts()
    finally:
        engine.close()
    kind = " (rootless)" if facts.rootless else ""
    text = f"engine {facts.version}{kind} at {facts.address}"
    if not facts.here:
        cure = "use an engine of this host; until then images run in the sandbox"
        return Finding("docker", "note", f"{text} is on another host", cure)
    return Finding("docker", "ok", text)


def _cgroups() -> Finding:
    where = cgroup.hierarchies()
    if where is not None:
        return Finding("cgroups", "ok", f"version {where.version}: `memory` of actions is a limit")
    return Finding(
        "cgroups",
        "note",
        "none can be made: `memory` of actions is only planned with, not enforced",
        "run mlbuild below `systemd-run --user --scope -p Delegate=yes`, or as root",
    )


def _gpu(search: str) -> Finding:
    found = Gpus(search).found
    if found:
        return Finding("gpu", "ok", "; ".join(map(str, found)))
    return Finding("gpu", "note", "no GPU of NVIDIA is here (nvidia-smi finds none)")


def _uv(tools: Toolchain) -> Finding:
    return Finding("uv", "ok", tools.resolve("uv").content)


def _python(tools: Toolchain) -> Finding:
    tool = tools.resolve("python")
    return Finding("python", "ok", f"{sys.version.split()[0]} at {tool.root}/{tool.executable}")


def _git(search: str) -> Finding:
    if any(os.access(os.path.join(folder, "git"), os.X_OK) for folder in search.split(":")):
        return Finding("git", "ok", "installed: results name the commit that they were made at")
    return Finding("git", "note", "not installed: results name no commit", "apt-get install git")


def _memory() -> Finding:
    try:
        room = os.statvfs(SHM)
    except FileNotFoundError:
        return Finding("memory", "note", "there is no /dev/shm: small inputs are staged on disk")
    free = room.f_bavail * room.f_frsize
    if free < SHARED:
        cure = "mount -o remount,size=2G /dev/shm (of a container: --shm-size 2g)"
        return Finding("memory", "note", f"{SHM} has {_size(free)} free", cure)
    return Finding("memory", "ok", f"{SHM} has {_size(free)} free")


def _disk(cache_dir: str) -> Finding:
    place = _existing(cache_dir)
    free = free_bytes(place)
    kind = _file_system(place)
    text = f"{_size(free)} free for the store at {cache_dir} ({kind})"
    if not os.access(place, os.W_OK):
        return Finding("disk", "bad", f"{text} cannot be written", "set MLBUILD_CACHE_DIR")
    if free < TOO_LITTLE:
        return Finding("disk", "bad", text, "mlbuild clean --cache, or MLBUILD_CACHE_DIR elsewhere")
    if kind in NETWORK_DISKS:
        cure = "set MLBUILD_CACHE_DIR to a folder on a local disk"
        return Finding("disk", "note", f"{text}: a network disk is slow and locks badly", cure)
    if not _links(place):
        cure = "set MLBUILD_CACHE_DIR to a folder where hard links can be made"
        return Finding(
            "disk", "note", f"{text}: no hard links, so large files are kept twice", cure
        )
    if free < LITTLE:
        return Finding("disk", "note", text, "mlbuild clean --cache frees the store")
    return Finding("disk", "ok", text)


def _clock(cache_dir: str) -> Finding:
    now = time.time_ns() / 1e9
    if now < OLDEST:
        return Finding("clock", "bad", "it shows a time in the past", "set the clock (NTP)")
    with tempfile.TemporaryFile(dir=_writable(cache_dir)) as file:
        file.write(b"x")
        file.flush()
        skew = os.fstat(file.fileno()).st_mtime - time.time_ns() / 1e9
    if abs(skew) > SKEW:
        text = f"the disk of the store is {skew:+.0f} s apart: changed files may be hashed twice"
        return Finding("clock", "note", text, "set the clocks of both machines (NTP)")
    return Finding("clock", "ok", "this host and the disk of the store agree")


def _existing(path: str) -> str:
    """Return `path`, or the nearest folder above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _writable(path: str) -> str:
    place = _existing(path)
    return place if os.access(place, os.W_OK) else tempfile.gettempdir()


def _links(place: str) -> bool:
    """Say whether hard links can be made in a folder."""
    with tempfile.TemporaryDirectory(dir=place, prefix=".mlbuild-") as folder:
        with open(f"{folder}/a", "xb"):
            pass
        try:
            os.link(f"{folder}/a", f"{folder}/b")
        except OSError:
            return False
    return True


def _file_system(place: str) -> str:
    """Return the kind of file system that a folder is on."""
    best, kind = "", "unknown"
    for mount, found in _mounts():
        if (place + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def _mounts() -> Iterator[tuple[str, str]]:
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split()
            yield re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), words[1]), words[2]


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
