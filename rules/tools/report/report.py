"""Writes a report of metrics, tables, curves and pictures as HTML and as Markdown.

usage: report.py PAGE SUMMARY [TEXT]

Title and sections stand in the params of $MLBUILD_CONTEXT. TEXT is Markdown that says what stands
where: `{{ SECTION }}`, `{{ SECTION FILE }}`, and within a line `{{ SECTION METRIC }}`.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partial

from contents import Heading, Part, Prose, ReportError, Section, read_text, section_of
from page import page
from summary import summary

REFERENCE = re.compile(r"\{\{\s*(.+?)\s*\}\}")
FORMAT = re.compile(r"(.+?)\s+(\.\d{1,2}[efg%])")


def main() -> None:
    """Read, then write both forms."""
    if len(sys.argv) not in {3, 4}:
        sys.exit("usage: report.py PAGE SUMMARY [TEXT]")
    _, page_path, summary_path, *text = sys.argv
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:  # noqa: TID251 - a program
        params = json.load(file)["params"]
    try:
        sections = [section_of(one, rows=params["rows"]) for one in params["sections"]]
        parts = list(arranged(text[0], sections) if text else in_order(sections))
    except ReportError as error:
        sys.exit(str(error))
    for path, content in (
        (page_path, page(params["title"], parts)),
        (summary_path, summary(params["title"], parts)),
    ):
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)


def in_order(sections: Sequence[Section]) -> Iterator[Part]:
    """Yield all sections, each under its name."""
    for section in sections:
        yield Heading(section.name)
        yield from whole(section)


def whole(section: Section) -> Iterator[Part]:
    """Yield all parts of a section."""
    for parts in section.parts.values():
        yield from parts


def arranged(path: str, sections: Sequence[Section]) -> Iterator[Part]:
    """Yield a text, with what it refers to in its place."""
    text = read_text(path, path)
    # Its largest headings stand right below the title.
    level = 1 if re.search(r"^#\s", text, re.MULTILINE) else 0
    lines: list[str] = []
    fence = False
    in_line = partial(replaced, sections=sections)
    for number, line in enumerate(text.splitlines(), 1):
        fence ^= line.strip().startswith(("```", "~~~"))
        try:
            alone = None if fence else REFERENCE.fullmatch(line.strip())
            parts = block(alone[1], sections) if alone else None
            if parts is None:
                lines.append(line if fence else REFERENCE.sub(in_line, line))
                continue
        except ReportError as error:
            raise ReportError(f"{path}:{number}: {error}") from error
        yield Prose("\n".join(lines), level)
        lines = []
        yield from parts
    yield Prose("\n".join(lines), level)


def block(reference: str, sections: Sequence[Section]) -> Sequence[Part] | None:
    """Return a section, or one file of it; None when the reference is to a number."""
    section, rest = named(reference, sections)
    if not rest:
        return list(whole(section))
    return section.parts.get(rest)


def replaced(found: re.Match[str], sections: Sequence[Section]) -> str:
    """Return the number that a reference within a line is to."""
    section, rest = named(found[1], sections)
    if not rest or rest in section.parts:
        raise ReportError(f"`{found[0]}` is more than a number: give it a line of its own")
    if rest in section.numbers:
        return f"{section.numbers[rest]:.6g}"
    styled = FORMAT.fullmatch(rest)
    if styled and styled[1] in section.numbers:
        return format(section.numbers[styled[1]], styled[2])
    known = [*section.numbers, *section.parts]
    raise ReportError(f"`{section.name}` has no `{rest}`; {alike(rest, known)}")


def named(reference: str, sections: Sequence[Section]) -> tuple[Section, str]:
    """Return the section that a reference begins with, and the rest of it."""
    fitting = [section for section in sections if (reference + " ").startswith(section.name + " ")]
    if not fitting:
        names = [section.name for section in sections]
        raise ReportError(
            f"`{{{{ {reference} }}}}` begins with no name in `data`; {alike(reference, names)}"
        )
    section = max(fitting, key=lambda one: len(one.name))
    return section, reference[len(section.name) :].strip()


def alike(name: str, known: Sequence[str]) -> str:
    """Return the names that may have been meant."""
    close = get_close_matches(name, known, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(f'`{one}`' for one in close)}?"
    return f"there is: {', '.join(f'`{one}`' for one in known[:12]) or 'nothing'}"


if __name__ == "__main__":
    main()
