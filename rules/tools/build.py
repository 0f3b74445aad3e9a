"""Builds source distributions without a network and installs what comes of them.

usage: build.py --uv UV --python PYTHON --sources DIR --requires DIR|- --out DIR

DIR of `--sources` holds archives; what their builds require must be among the packages of
`--requires`. Builds follow PEP 517. What is installed is as clean as install.py leaves it.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # `-I` leaves it out

import install
import packages

LEGACY = {"requires": ["setuptools"], "build-backend": "setuptools.build_meta:__legacy__"}
# Run by the interpreter that the wheel is for, in the folder of the source.
HOOK = """
import importlib, json, sys
words = json.loads(sys.argv[1])
sys.path[:0] = words["path"]
module, _, inner = words["backend"].partition(":")
backend = importlib.import_module(module)
for name in filter(None, inner.split(".")):
    backend = getattr(backend, name)
print(backend.build_wheel(words["out"]), file=open(words["name"], "w"))
"""
NAMED = r"((?:[\w./-]*-)?(?:gcc|g\+\+|cc|c\+\+|clang(?:\+\+)?|gfortran|rustc|cargo|nvcc))"
COMPILER = re.compile(
    r"(?:command|unable to execute|exec(?:utable)?:?)\s*'?"
    rf"{NAMED}'?[^\n]*(?:not found|No such file)"
    rf"|No such file or directory: '{NAMED}'"
    r"|(?:Could not|cannot|can't) find (?:a |the )?(?:suitable )?"
    r"((?:C|C\+\+|Rust|Fortran) compiler)"
)
MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


def main() -> None:
    """Build and install one after the other."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    uv, python, out = options["--uv"], options["--python"], options["--out"]
    requires = "" if options["--requires"] == "-" else os.path.abspath(options["--requires"])
    os.makedirs(out, exist_ok=True)
    for folder, _, names in sorted(os.walk(options["--sources"])):
        for name in sorted(names):
            with tempfile.TemporaryDirectory() as scratch:
                wheel = build(os.path.join(folder, name), scratch, python, requires)
                add(wheel, out, uv, python)
    packages.clean(out)
    install.wait(packages.compiling(out, python, install.variables()))


def build(archive: str, scratch: str, python: str, requires: str) -> str:
    """Return the path of the wheel that comes of a source distribution."""
    name = os.path.basename(archive)
    source = unpack(archive, os.path.join(scratch, "source"))
    system = build_system(source)
    made, told = os.path.join(scratch, "wheel"), os.path.join(scratch, "name")
    os.mkdir(made)
    words = {
        "path": [*(os.path.join(source, one) for one in system.get("backend-path", ())), requires],
        "backend": system.get("build-backend", LEGACY["build-backend"]),
        "out": made,
        "name": told,
    }
    variables = {**install.variables(), "PYTHONPATH": requires, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [python, "-s", "-c", HOOK, json.dumps(words)],
        cwd=source,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    if done.returncode != 0:
        sys.exit(f"{failure(name, said, system)}\n{said}")
    with open(told, encoding="utf-8") as file:
        return os.path.join(made, file.read().strip())


def unpack(archive: str, to: str) -> str:
    """Unpack a source distribution; return its one folder."""
    try:
        if archive.endswith(".zip"):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(to)  # noqa: S202 - leaves out what would lead elsewhere
        else:
            with tarfile.open(archive) as packed:
                packed.extractall(to, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        sys.exit(f"`{os.path.basename(archive)}` cannot be unpacked: {error}")
    (folder,) = os.listdir(to)
    return os.path.join(to, folder)


def build_system(source: str) -> dict[str, Any]:
    """Return how a source says that it is built."""
    try:
        with open(os.path.join(source, "pyproject.toml"), "rb") as file:
            found = tomllib.load(file).get("build-system", LEGACY)
    except FileNotFoundError:
        return dict(LEGACY)
    return dict(found)


def failure(name: str, said: str, system: dict[str, Any]) -> str:
    """Say in a sentence why a build failed."""
    compiler = COMPILER.search(said)
    if compiler:
        found = next(filter(None, compiler.groups()))
        return (
            f"`{name}` needs the compiler `{found}`, which is not here: install it, "
            "or lock a version that has a wheel"
        )
    module = MISSING.search(said)
    if module:
        wanted = ", ".join(f"`{one}`" for one in system.get("requires", ()))
        return (
            f"`{name}` needs the module `{module[1]}` to be built; it requires {wanted}: "
            "lock them in a python_environment and name that as `build_environment`"
        )
    return f"`{name}` cannot be built from its source"


def add(wheel: str, out: str, uv: str, python: str) -> None:
    """Unpack a wheel that was built here."""
    done = subprocess.run(
        [
            *(uv, *install.UV, "--python", python, "--target", out),
            *("--no-index", "--no-deps", "--no-cache", "--link-mode", "copy", wheel),
        ],
        env=install.variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        sys.exit(f"`{os.path.basename(wheel)}` cannot be installed\n{said}")


if __name__ == "__main__":
    main()
