"""Writes the reference of rules, commands and queries, as mlbuild tells it of itself.

usage: reference.py RULES COMMANDS QUERIES
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import os
import sys
import tempfile

sys.path.insert(0, os.getcwd())  # the program is an input, as it lies in the checkout

from mlbuild.cli import help as helping
from mlbuild.cli import reference
from mlbuild.cli.options import Usage
from mlbuild.cli.session import Screen
from mlbuild.query.functions import FUNCTIONS

COMMANDS_HEAD = """\
# Commands

What each command takes, as `mlbuild help COMMAND` says it.
What they do in full stands in [cli.md](cli.md).
"""
QUERIES_HEAD = """\
# Functions of the query language

What `mlbuild query` can ask. The language is explained in [query.md](query.md).
"""


def main() -> None:
    """Write the three pages."""
    if len(sys.argv) != 4:  # noqa: PLR2004 - three pages and our own name
        sys.exit("usage: reference.py RULES COMMANDS QUERIES")
    with tempfile.TemporaryDirectory() as cache:
        pages = (rules(cache), commands(), queries())
    for path, text in zip(sys.argv[1:], pages, strict=True):
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


def rules(cache: str) -> str:
    """Return the page of all rules; compiled files go to the folder `cache`."""
    screen = Screen({"MLBUILD_CACHE_DIR": cache}, color="never")
    return reference.markdown(reference.library(screen))


def commands() -> str:
    """Return the page of all commands."""
    parts = [COMMANDS_HEAD]
    for name, summary in helping.COMMANDS.items():
        parts.append(f"\n## {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n{options(name)}")
    return "".join(parts)


def options(name: str) -> str:
    """Return what a command takes."""
    usage: Usage = helping.usage_of(name)
    line = " ".join(part for part in ("mlbuild", name, "[OPTION]…", usage.words) if part)
    rows = []
    for one in usage.options:
        written = ", ".join(one.names) + (f" {one.value}" if one.value else "")
        rows.append(f"| `{cell(written)}` | {cell(one.doc)} |\n")
    return (
        f"```\n{line}\n```\n\n{usage.doc}\n\n| option | meaning |\n| --- | --- |\n{''.join(rows)}"
    )


def queries() -> str:
    """Return the page of all functions of queries."""
    rows = [
        f"| `{one.shown(name)}` | {cell(one.doc)} | `{cell(one.example)}` |\n"
        for name, one in FUNCTIONS.items()
    ]
    head = "\n| function | gives | for example |\n| --- | --- | --- |\n"
    return f"{QUERIES_HEAD}{head}{''.join(rows)}"


def cell(text: str) -> str:
    """Return a text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
