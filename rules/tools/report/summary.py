"""Summary: a report as Markdown, short enough for a comment on a pull request."""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import re
from collections.abc import Sequence
from typing import Any

from contents import Curve, Heading, Part, Picture, Prose, Table, shown

LONGEST = 65_536  # characters: what GitHub takes as one comment
CUT = "\n\n… the rest stands in `report.html`.\n"


def summary(title: str, parts: Sequence[Part]) -> str:
    """Return the whole text, cut between two parts where it would be too long."""
    text = f"# {line(title)}\n"
    for part in joined(parts):
        more = "\n" + markdown(part) + "\n"
        if len(text) + len(more) > LONGEST - len(CUT):
            return text + CUT
        text += more
    return text


def joined(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with the curves of one place as one table of their ends."""
    found: list[Part] = []
    for part in parts:
        if not isinstance(part, Curve):
            found.append(part)
            continue
        values = [value for _, value in part.points]
        row = (part.name, values[0], values[-1], min(values), max(values))
        caption = part.caption.rpartition(": ")[0]
        before = found[-1] if found else None
        if isinstance(before, Table) and before.caption == caption and before.columns == ENDS:
            found[-1] = Table(caption, ENDS, (*before.rows, row))
        else:
            found.append(Table(caption, ENDS, (row,)))
    return found


ENDS = ("curve", "first", "last", "least", "most")


def markdown(part: Part) -> str:
    """Return one part."""
    match part:
        case Heading(text):
            return f"## {line(text)}"
        case Prose(text, level):
            return lowered(text.strip("\n"), level)
        case Table():
            return table(part)
        case Picture(caption):
            return f"Figure `{caption}` stands in `report.html`."
        case Curve(caption):
            return f"Curve `{caption}` stands in `report.html`."


def lowered(text: str, level: int) -> str:
    """Return Markdown whose headings stand `level` lower."""
    found, fence = [], ""
    for one in text.split("\n"):
        start = one.strip()[:3]
        if start in {"```", "~~~"} and fence in {"", start}:
            fence = "" if fence else start
        marks = re.match(r"#{1,6}(?=\s)", one)
        depth = min(6, len(marks[0]) + level) if marks and not fence else 0
        found.append("#" * depth + one.lstrip("#") if depth else one)
    return "\n".join(found)


def table(part: Table) -> str:
    """Return a table as Markdown writes it."""
    rows = [part.columns, ["---"] * len(part.columns), *part.rows]
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    more = [f"\n… and {part.more} more rows"] if part.more else []
    return "\n".join([f"**{line(part.caption)}**", "", *lines, *more])


def cell(value: Any) -> str:
    """Return a cell: one line without a bar."""
    return line(shown(value)).replace("|", "\\|")


def line(text: str) -> str:
    """Return a text as one line in which nothing is markup."""
    return re.sub(r"([\\`*_<\[#])", r"\\\1", " ".join(text.split()))
