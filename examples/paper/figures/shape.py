"""Draws how wide and how high digits are.

usage: shape.py TABLE FIGURE
"""

import csv
import sys
from pathlib import Path

from drawing import across, label, plot, up

SIDE = 22  # pixels


def main() -> None:
    """Draw a dot for each digit, the ones in another colour."""
    table, figure = map(Path, sys.argv[1:])
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    dots = [
        f'<circle cx="{across(int(row["width"]) / SIDE):.1f}" '
        f'cy="{up(int(row["height"]) / SIDE):.1f}" r="4" fill-opacity="0.35" '
        f'fill="{"crimson" if row["digit"] == "1" else "steelblue"}"/>'
        for row in rows
    ]
    marks = [label(across(size / SIDE), up(0) + 16, str(size)) for size in (5, 10, 15, 20)]
    marks += [label(across(0) - 14, up(size / SIDE) + 4, str(size)) for size in (5, 10, 15, 20)]
    figure.write_text(plot(dots + marks, below="width, pixels", above="height, pixels"))


if __name__ == "__main__":
    main()
