"""Writes what a notebook says, without what running or saving it left there.

usage: strip_notebook.py NOTEBOOK OUT

Kept: the order, kind, source, tags and attachments of its cells. Dropped: outputs, execution
counts, ids, and metadata of editors, widgets and kernels.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import sys
from collections.abc import Mapping
from typing import Any

FORMAT = 4  # of all notebooks since 2015
KINDS = ("code", "markdown", "raw")


class NotebookError(Exception):
    """A file that is no notebook to run."""


def main() -> None:
    """Read, strip, write."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - our own name and two words
        sys.exit("usage: strip_notebook.py NOTEBOOK OUT")
    _, source, out = sys.argv
    try:
        with open(source, encoding="utf-8") as file:
            stripped = strip(json.load(file))
    except ValueError as error:
        sys.exit(f"`{source}` is not JSON: {error}")
    except NotebookError as error:
        sys.exit(f"`{source}` cannot be run: {error}")
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        json.dump(stripped, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")


def strip(notebook: Any) -> Mapping[str, Any]:
    """Return what counts of a notebook. Raises NotebookError."""
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise NotebookError("it is no notebook of format 4; open and save it with Jupyter")
    if notebook.get("nbformat") != FORMAT:
        raise NotebookError(f"its format is {notebook.get('nbformat')}, not {FORMAT}")
    metadata = notebook.get("metadata", {})
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get(
        "language"
    )
    if language not in {None, "python", "ipython"}:
        raise NotebookError(f"it is written in {language}; only Python notebooks are run")
    return {
        "cells": [cell(one, number) for number, one in enumerate(notebook["cells"], 1)],
        "metadata": {},
        "nbformat": FORMAT,
        "nbformat_minor": 5,
    }


def cell(given: Any, number: int) -> Mapping[str, Any]:
    """Return what counts of a cell."""
    kind = given.get("cell_type") if isinstance(given, dict) else None
    if kind not in KINDS:
        raise NotebookError(f"cell {number} is none of {', '.join(KINDS)}")
    source = given.get("source", "")
    tags = given.get("metadata", {}).get("tags", [])
    kept: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {"tags": tags} if tags else {},
        "source": "".join(source) if isinstance(source, list) else source,
    }
    if kind == "code":
        kept |= {"execution_count": None, "outputs": []}
    elif given.get("attachments"):
        kept["attachments"] = given["attachments"]
    return kept


if __name__ == "__main__":
    main()
