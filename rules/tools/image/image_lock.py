"""Writes the digest that `mlbuild.lock` has for an image.

usage: image_lock.py LOCK NAME OUT
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import re
import sys
import tomllib


def main() -> None:
    """Look up, or say in one sentence why there is nothing."""
    if len(sys.argv) != 4:  # noqa: PLR2004 - our own name and three words
        sys.exit("usage: image_lock.py LOCK NAME OUT")
    _, lock, name, out = sys.argv
    try:
        with open(lock, "rb") as file:
            said = tomllib.load(file)
        found = said.get("images", {}).get(name)
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        sys.exit(f"{lock}: it is no lock: {error}")
    if not isinstance(found, str) or not re.fullmatch("sha256:[0-9a-f]{64}", found):
        sys.exit(f"{lock}: it has no digest for `{name}`: run `mlbuild lock`")
    with open(out, "w", encoding="ascii") as file:
        file.write(found)


if __name__ == "__main__":
    main()
