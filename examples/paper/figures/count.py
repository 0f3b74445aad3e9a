"""Counts digits and their ink.

usage: count.py TABLE CLASSES NUMBERS
"""

import csv
import json
import sys
from pathlib import Path
from statistics import mean, stdev


def main() -> None:
    """Write a row for each digit, and the numbers that the text quotes."""
    table, classes, numbers = map(Path, sys.argv[1:])
    with table.open(newline="") as file:
        rows = [(int(row["digit"]), float(row["ink"])) for row in csv.DictReader(file)]
    ink = {digit: [part for one, part in rows if one == digit] for digit in range(10)}
    means = {digit: mean(parts) for digit, parts in ink.items()}
    with classes.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["digit", "number", "mean ink, %", "deviation"])
        writer.writerows(
            [digit, len(parts), f"{means[digit]:.2f}", f"{stdev(parts):.2f}"]
            for digit, parts in ink.items()
        )
    found = {
        "digits": len(rows),
        "mean_ink": mean(part for _, part in rows),
        "most": max(means, key=lambda digit: means[digit]),
        "least": min(means, key=lambda digit: means[digit]),
    }
    numbers.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
