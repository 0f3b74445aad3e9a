"""Draws how much ink each digit takes.

usage: ink.py TABLE FIGURE
"""

import csv
import sys
from pathlib import Path
from statistics import mean

from drawing import across, label, plot, up

TOP = 25  # per cent


def main() -> None:
    """Draw a bar for each digit."""
    table, figure = map(Path, sys.argv[1:])
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    bars = []
    for digit in range(10):
        ink = mean(float(row["ink"]) for row in rows if row["digit"] == str(digit))
        left, right, top = across(digit / 10 + 0.02), across(digit / 10 + 0.08), up(ink / TOP)
        width, height = right - left, up(0) - top
        bars += [
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>',
            label((left + right) / 2, top - 4, f"{ink:.1f}"),
            label((left + right) / 2, up(0) + 16, str(digit)),
        ]
    figure.write_text(plot(bars, below="digit", above="ink, %"))


if __name__ == "__main__":
    main()
