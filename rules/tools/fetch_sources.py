"""Fetches source distributions by their hashes; the one of line n of a list goes to OUT/n.

usage: fetch_sources.py LIST OUT

Nothing of them is run: building is for an action without a network.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # `-I` leaves it out

import index
import install


def main() -> None:
    """Fetch all."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - our own name and two words
        sys.exit("usage: fetch_sources.py LIST OUT")
    _, listed, out = sys.argv
    with open(listed, encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if line.strip()]
    for number, line in enumerate(lines):
        pin = line.split(" ", 1)[0]
        hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        folder = f"{out}/{number}"
        os.makedirs(folder)
        try:
            found = index.source_file(
                install.name_of(pin), pin.partition("==")[2], hashes, install.variables()
            )
            index.download(found, f"{folder}/{os.path.basename(found.name)}", hashes)
        except index.NotFoundError as error:
            sentence, _, rest = str(error).partition("\n")
            sys.exit("\n".join([f"`{pin}`: {sentence}", *install.place_of(pin), rest]).strip())


if __name__ == "__main__":
    main()
