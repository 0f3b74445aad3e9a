"""Turns a lock into one canonical list: what an environment has on one platform.

usage: lock.py LOCK OUT [--platform FILE] [--sources FILE] [--project FILE] [--group NAME]…
               [--extra NAME]… [--unpinned]

LOCK is a requirements.txt with hashes, a uv.lock, a pylock.toml or the lock of a script. OUT gets
a line for each package, `name==version --hash=sha256:…`, sorted: markers are decided, extras and
groups chosen, and of several wheels, where the lock tells them apart, the best that fits. So what
depends on the list is done again only when the environment is another one, and not for a comment,
another platform's wheel or an unrelated group. Packages that are locked as their source only go to
the list `--sources`; without it they are refused. FILE of `--platform` is what probe.py wrote.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import argparse
import json
import os
import sys
import tomllib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # `-I` leaves it out

import lock_requirements
import lock_toml
import probe
from lock_markers import Platform
from lock_pins import LockError, Pin


def main() -> None:
    """Read, choose, write."""
    words = arguments()
    try:
        with open(words.lock, encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError:
        sys.exit(f"{words.lock} is not UTF-8 text")
    try:
        pins = chosen(text, words)
    except LockError as error:
        sys.exit(f"{words.lock}:{error.line}: {error}")
    wheels = [pin for pin in pins if not pin.is_source]
    write(words.out, wheels)
    if words.sources:
        write(words.sources, [pin for pin in pins if pin.is_source])


def arguments() -> argparse.Namespace:
    """Return the words of the command line."""
    parser = argparse.ArgumentParser(prog="lock.py", allow_abbrev=False)
    parser.add_argument("lock")
    parser.add_argument("out")
    for name in ("--platform", "--sources", "--project"):
        parser.add_argument(name, default="")
    for name in ("--group", "--extra"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--unpinned", action="store_true")
    return parser.parse_args()


def chosen(text: str, words: argparse.Namespace) -> list[Pin]:
    """Return what the environment has. Raises LockError."""
    platform = platform_of(words.platform)
    if not is_toml(words.lock, text):
        if words.group or words.extra:
            raise LockError(1, "a requirements.txt has no groups and no extras to choose")
        return lock_requirements.pins_of(
            text, platform, unpinned=words.unpinned, sdists=bool(words.sources)
        )
    if is_script(text):
        raise LockError(1, "this is a script; `lock` names its lock, `mlbuild lock` writes that")
    choice = lock_toml.Choice(
        tuple(words.group),
        tuple(words.extra),
        member_of(words.project),
        sdists=bool(words.sources),
    )
    return lock_toml.pins_of(text, platform, choice)


def platform_of(path: str) -> Platform:
    """Return the platform that is described at `path`, or else our own."""
    found = probe.found()
    if path:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    return Platform(found["markers"], tuple(found["tags"]))


def is_toml(path: str, text: str) -> bool:
    """Say whether a lock is no requirements.txt."""
    name = os.path.basename(path)
    if name.endswith((".toml", ".py", ".py.lock")) or name == "uv.lock":
        return True
    return bool(text) and text.lstrip().startswith(("version =", "lock-version", "[["))


def is_script(text: str) -> bool:
    """Say whether a text is a script with its requirements (PEP 723), not a lock."""
    return any(line.rstrip() == "# /// script" for line in text.splitlines())


def member_of(project: str) -> str:
    """Return the name of the project that a pyproject.toml describes; "" without one."""
    if not project:
        return ""
    try:
        with open(project, "rb") as file:
            return str(tomllib.load(file).get("project", {}).get("name", ""))
    except tomllib.TOMLDecodeError as error:
        sys.exit(f"{project}: this is no TOML: {error}")


def write(path: str, pins: list[Pin]) -> None:
    """Write a list, sorted."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(str(pin) for pin in sorted(pins))


if __name__ == "__main__":
    main()
