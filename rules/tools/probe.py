"""Tells what an interpreter and its platform can install, as JSON: markers and tags.

usage: probe.py OUT

Runs in any CPython from 3.8, in an image too, so it uses nothing newer. The release of the kernel
is left out: no package may depend on it.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator

LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
OLDEST = {"x86_64": 5, "i686": 5}  # the first glibc that wheels for a machine may name; else 2.17


def main() -> None:
    """Look, write."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - our own name and one word
        sys.exit("usage: probe.py OUT")
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(found(), file, sort_keys=True)


def found() -> dict:  # type: ignore[type-arg]
    """Return what the running interpreter is."""
    return {"markers": markers(), "tags": tags()}


def markers() -> "dict[str, str]":
    """Return the variables that markers of requirements may name (PEP 508)."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version_of(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": "",
        "platform_system": platform.system(),
        "platform_version": "",
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def version_of(info) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Return a version as a text: `3.11.7`, `3.13.0b2`."""
    text = ".".join(map(str, info[:3]))
    return text if info[3] == "final" else text + info[3][0] + str(info[4])


def tags() -> "list[str]":
    """Return the tags of wheels that fit, the best first (PEP 425)."""
    major, minor = sys.version_info[:2]
    own = f"cp{major}{minor}"
    is_free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    platforms = list(linux(platform.machine()))
    abi = own + ("t" if is_free else "")
    result = [f"{own}-{abi}-{one}" for one in platforms]
    if not is_free:
        result += [f"{own}-abi3-{one}" for one in platforms]
    result += [f"{own}-none-{one}" for one in platforms]
    if not is_free:
        for older in range(minor - 1, 1, -1):
            result += [f"cp{major}{older}-abi3-{one}" for one in platforms]
    pure = [f"py{major}{minor}", f"py{major}"]
    pure += [f"py{major}{older}" for older in range(minor - 1, -1, -1)]
    result += [f"{one}-none-{where}" for one in pure for where in platforms]
    return result + [f"{one}-none-any" for one in (own, *pure)]


def linux(machine: str) -> "Iterator[str]":
    """Yield the names of this platform, the most particular first."""
    if sys.maxsize < 2**32:
        machine = {"x86_64": "i686", "aarch64": "armv7l"}.get(machine, machine)
    yield f"linux_{machine}"
    glibc = c_library()
    if glibc:
        for minor in range(glibc, OLDEST.get(machine, 17) - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if minor in LEGACY:
                yield f"{LEGACY[minor]}_{machine}"
    else:
        for minor in range(musl(machine), -1, -1):
            yield f"musllinux_1_{minor}_{machine}"


def c_library() -> int:
    """Return the minor version of glibc 2, 0 where there is another C library."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return 0
    name, _, version = text.partition(" ")
    return int(version.split(".")[1]) if name == "glibc" else 0


def musl(machine: str) -> int:
    """Return the minor version of musl 1, -1 where there is none."""
    loader = f"/lib/ld-musl-{machine}.so.1"
    if not os.path.exists(loader):
        return -1
    said = subprocess.run([loader], stderr=subprocess.PIPE, check=False).stderr.decode()
    version = re.search(r"Version 1\.(\d+)", said)
    return int(version.group(1)) if version else -1


if __name__ == "__main__":
    main()
