"""Page: a report as one HTML file that needs no network and runs no script."""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import base64
from collections.abc import Sequence
from html import escape

from chart import drawing
from contents import Curve, Heading, Part, Picture, Prose, Table, shown
from prose import html_of

STYLE = """\
:root { color-scheme: light dark; --line: #8884; --ink: light-dark(#1b5fc1, #7fb2ff); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 0.5em; }
figure { margin: 1rem 0; overflow-x: auto; }
figcaption, caption { font-size: 0.85rem; opacity: 0.8; padding: 0.2rem 0; text-align: left; }
img { background: #fff; max-width: 100%; }
table { border-collapse: collapse; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }
th.number, td.number { font-variant-numeric: tabular-nums; text-align: right; }
svg { display: block; font-size: 11px; max-width: 34rem; width: 100%; }
svg line { stroke: var(--line); }
svg text { fill: currentColor; opacity: 0.8; }
svg polyline { fill: none; stroke: var(--ink); stroke-linejoin: round; stroke-width: 2; }
pre { background: #8881; overflow-x: auto; padding: 0.6rem; }
@media print { body { max-width: none; } }"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, parts: Sequence[Part]) -> str:
    """Return the whole page."""
    body = "\n".join(map(html, parts))
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE}
</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def html(part: Part) -> str:
    """Return one part."""
    match part:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Prose(text, level):
            return html_of(text, level=level)
        case Table():
            return table(part)
        case Curve(caption):
            return figure(drawing(part), caption)
        case Picture(caption, media_type, content):
            # As an image, so that a script within an SVG never runs.
            source = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
            return figure(f'<img alt="{escape(caption)}" src="{source}">', caption)


def figure(inner: str, caption: str) -> str:
    """Return something to look at, with its caption."""
    return f"<figure>\n{inner}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def table(part: Table) -> str:
    """Return a table; a column of numbers stands to the right."""
    kinds = [' class="number"' if is_numeric(part, at) else "" for at in range(len(part.columns))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for kind, name in zip(kinds, part.columns, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(
            f"<td{kind}>{escape(shown(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in part.rows
    )
    more = f"<p>… and {part.more} more rows</p>\n" if part.more else ""
    return (
        f"<figure>\n<table>\n<caption>{escape(part.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n{more}</figure>"
    )


def is_numeric(part: Table, column: int) -> bool:
    """Say whether a column holds numbers only."""
    return all(
        row[column] in {None, ""} or isinstance(row[column], int | float) for row in part.rows
    )
