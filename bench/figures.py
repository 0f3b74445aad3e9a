"""Draws what `make bench` measured: a chart for each group of figures, and a table of them all.

usage: figures.py BENCHMARKS TABLE MACHINE CHARTS

BENCHMARKS is docs/benchmarks.json. A chart shows how many times the peer's median mlbuild's is, on
a logarithmic axis, with the goal as a mark.
"""

import csv
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 900, 470, 60  # pixels
ROW, TOP, BOTTOM = 26, 34, 30
LEAST, MOST = 0.25, 16.0  # of the axis, unless a figure lies outside
COLOURS = {True: "#2f8f4e", False: "#c03a2b", None: "#4a78b5"}  # goal reached, missed, none
HEAD = ("what", "peer", "theirs", "ours", "unit", "ratio", "goal", "reached")


@dataclass(frozen=True)
class Figure:
    """One comparison with a peer."""

    what: str
    peer: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    goal: float | None  # the ratio that is to be reached
    reached: bool | None


def main() -> None:
    """Read the results; write the table, the machine, and the charts."""
    if len(sys.argv) != 5:  # noqa: PLR2004 - four words and our own name
        sys.exit("usage: figures.py BENCHMARKS TABLE MACHINE CHARTS")
    source, table, machine, charts = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        found = json.load(file)
    figures = [figure_of(one) for one in found["figures"]]
    with open(table, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(map(row, figures))
    with open(machine, "w", encoding="utf-8") as file:
        json.dump(found["machine"], file, indent=1)
    os.makedirs(charts, exist_ok=True)
    for number, (unit, title) in enumerate((("s", "time"), ("MiB", "memory")), 1):
        chosen = [one for one in figures if one.unit == unit]
        if chosen:
            path = os.path.join(charts, f"{number}-{title}.svg")
            with open(path, "w", encoding="utf-8") as file:
                file.write(chart(f"{title}: how many times the peer's", chosen))


def figure_of(given: dict[str, object]) -> Figure:
    """Read one figure; a goal with a constant part becomes the ratio that it allows here."""

    def number(name: str) -> float:
        value = given[name]
        assert isinstance(value, int | float), name
        return float(value)

    ours, theirs = number("ours"), number("theirs")
    goal = None
    if given["most"] is not None:
        goal = number("most") / theirs
    elif given["factor"] is not None:
        goal = number("factor") + number("more") / theirs
    reached = given["reached"]
    assert reached is None or isinstance(reached, bool)
    what, peer, unit = (str(given[name]) for name in ("what", "peer", "unit"))
    return Figure(what, peer, ours, theirs, unit, ours / theirs, goal, reached)


def row(one: Figure) -> tuple[object, ...]:
    """Return a line of the table."""
    said = {True: "yes", False: "no", None: ""}[one.reached]
    goal = "" if one.goal is None else round(one.goal, 2)
    times = (round(one.theirs, 4), round(one.ours, 4))
    return (one.what, one.peer, *times, one.unit, round(one.ratio, 2), goal, said)


def chart(title: str, figures: Sequence[Figure]) -> str:
    """Return bars that begin at 1, the peer's own figure, as an SVG."""
    values = [one.ratio for one in figures] + [one.goal for one in figures if one.goal]
    low, high = min(LEAST, *values), max(MOST, *values)
    height = TOP + ROW * len(figures) + BOTTOM
    namespace, font = "http://www.w3.org/2000/svg", 'font-family="system-ui, sans-serif"'
    lines = [
        f'<svg xmlns="{namespace}" viewBox="0 0 {WIDTH} {height}" font-size="12" {font}>',
        f'<text x="{LEFT}" y="16" font-size="14">{escape(title)}</text>',
    ]
    for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1):
        x = across(2.0**power, low, high)
        ink = "#555" if power == 0 else "#ddd"
        lines += [
            upright(x, TOP - 8, height - BOTTOM, stroke=f'stroke="{ink}"'),
            f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{2.0**power:g}</text>',
        ]
    for at, one in enumerate(figures):
        lines += bar(one, TOP + ROW * at, low=low, high=high)
    return "\n".join([*lines, "</svg>\n"])


def bar(one: Figure, y: float, *, low: float, high: float) -> list[str]:
    """Return the bar of one figure, its goal, and its name."""
    start, end = sorted((across(1.0, low, high), across(one.ratio, low, high)))
    name = f"{one.what} / {one.peer}"
    name = name if len(name) <= 68 else f"{name[:67]}…"  # noqa: PLR2004 - what has room
    size = f'width="{max(end - start, 1):.1f}" height="15"'
    found = [
        f'<text x="{LEFT - 8}" y="{y + 13:.1f}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{start:.1f}" y="{y + 2:.1f}" {size} fill="{COLOURS[one.reached]}"/>',
        f'<text x="{end + 5:.1f}" y="{y + 13:.1f}">{one.ratio:.2f}</text>',
    ]
    if one.goal:
        x = across(one.goal, low, high)
        found.append(upright(x, y - 1, y + 20, stroke='stroke="#111" stroke-width="2"'))
    return found


def upright(x: float, top: float, bottom: float, *, stroke: str) -> str:
    """Return a line from top to bottom."""
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" {stroke}/>'


def across(value: float, low: float, high: float) -> float:
    """Return where a ratio stands on the axis."""
    share = math.log(value / low) / math.log(high / low)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


if __name__ == "__main__":
    main()
