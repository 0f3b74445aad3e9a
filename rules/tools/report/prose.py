"""Prose: Markdown as HTML. What it does not know stays text, and is never markup.

Known: headings, paragraphs, lists, quotes, fenced code, tables, rules; within a line code, bold,
italic and links.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import re
from collections.abc import Callable
from html import escape

HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*")
ITEM = re.compile(r"\s{0,3}([-*+]|\d{1,9}[.)])\s+(.*)")
FENCE = re.compile(r"\s{0,3}(```+|~~~+)\s*(.*)")
RULE = re.compile(r"\s{0,3}([-*_])(\s*\1){2,}\s*")
DELIMITERS = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
QUOTE = re.compile(r"\s*(>\s?)+")
CODE = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"!?\[([^\]\[]*)\]\(\s*([^()\s]+)(?:\s+&quot;[^)]*&quot;)?\s*\)")
STRONG = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")
EMPHASIS = re.compile(r"(?<![\w*])([*_])(?=\S)([^*_]+?)(?<=\S)\1(?![\w*])")
SAFE = ("http://", "https://", "mailto:", "#")


def html_of(text: str, *, level: int) -> str:
    """Return Markdown as HTML; its headings stand `level` below their own."""
    lines = text.split("\n")
    found: list[str] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        block, at = next(result for read in BLOCKS if (result := read(lines, at, level)))
        found.append(block)
    return "\n".join(found)


Block = tuple[str, int] | None  # its HTML, and the line after it


def fenced(lines: list[str], at: int, level: int) -> Block:  # noqa: ARG001 - as all blocks
    """Read code between fences."""
    found = FENCE.fullmatch(lines[at])
    if not found or "`" in found[2]:
        return None
    end = at + 1
    while end < len(lines) and not lines[end].strip().startswith(found[1]):
        end += 1
    code = escape("\n".join(lines[at + 1 : end]))
    return f"<pre><code>{code}\n</code></pre>", end + 1


def heading(lines: list[str], at: int, level: int) -> Block:
    """Read a heading."""
    found = HEADING.fullmatch(lines[at])
    if not found:
        return None
    rank = min(6, len(found[1]) + level)
    return f"<h{rank}>{inline(found[2])}</h{rank}>", at + 1


def rule(lines: list[str], at: int, level: int) -> Block:  # noqa: ARG001 - as all blocks
    """Read a line across the page."""
    return ("<hr>", at + 1) if RULE.fullmatch(lines[at]) else None


def quote(lines: list[str], at: int, level: int) -> Block:
    """Read lines that begin with `>`."""
    end = at
    while end < len(lines) and lines[end].lstrip().startswith(">"):
        end += 1
    if end == at:
        return None
    # Quotes in quotes become one, so that no text decides how deep this goes.
    inner = "\n".join(QUOTE.sub("", line) for line in lines[at:end])
    return f"<blockquote>{html_of(inner, level=level)}</blockquote>", end


def items(lines: list[str], at: int, level: int) -> Block:  # noqa: ARG001 - as all blocks
    """Read a list; a line that goes on is indented."""
    first = ITEM.fullmatch(lines[at])
    if not first:
        return None
    found: list[str] = []
    end = at
    while end < len(lines) and lines[end].strip():
        item = ITEM.fullmatch(lines[end])
        if item:
            found.append(item[2])
        else:
            found[-1] += " " + lines[end].strip()
        end += 1
    tag = "ol" if first[1][0].isdecimal() else "ul"
    inner = "".join(f"<li>{inline(item)}</li>" for item in found)
    return f"<{tag}>{inner}</{tag}>", end


def table(lines: list[str], at: int, level: int) -> Block:  # noqa: ARG001 - as all blocks
    """Read a table: a row of names, a row of dashes, rows."""
    has_dashes = at + 1 < len(lines) and DELIMITERS.fullmatch(lines[at + 1])
    if "|" not in lines[at] or not has_dashes:
        return None
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    head = "".join(f'<th scope="col">{inline(cell)}</th>' for cell in cells(lines[at]))
    body = "".join(
        "<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in cells(line)) + "</tr>"
        for line in lines[at + 2 : end]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", end


def cells(line: str) -> list[str]:
    """Return the cells of a row."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def paragraph(lines: list[str], at: int, level: int) -> Block:
    """Read lines up to an empty one, or to another block."""
    end = at + 1
    while (
        end < len(lines)
        and lines[end].strip()
        and not any(read(lines, end, level) for read in BLOCKS[:-1])
    ):
        end += 1
    return f"<p>{inline(' '.join(line.strip() for line in lines[at:end]))}</p>", end


BLOCKS: tuple[Callable[[list[str], int, int], Block], ...] = (
    fenced, heading, rule, quote, table, items, paragraph,
)  # fmt: skip


def inline(text: str) -> str:
    """Return what stands within a line."""
    parts: list[str] = []
    at = 0
    for found in CODE.finditer(text):
        parts += [marked(text[at : found.start()]), f"<code>{escape(found[2].strip())}</code>"]
        at = found.end()
    return "".join([*parts, marked(text[at:])])


def marked(text: str) -> str:
    """Return a text without code: escaped first, so that only the markup made here is markup."""
    safe = STRONG.sub(r"<strong>\2</strong>", LINK.sub(link, escape(text)))
    return EMPHASIS.sub(r"<em>\2</em>", safe)


def link(found: re.Match[str]) -> str:
    """Return a link; of one that leads to no page, its text alone."""
    if not found[2].startswith(SAFE):
        return found[1]
    # What looks like emphasis in an address is none.
    target = found[2].replace("*", "%2A").replace("_", "&#95;")
    return f'<a href="{target}">{found[1]}</a>'
