"""Scatters points around three places."""

import argparse
import random
from pathlib import Path

PLACES = ((0.0, 0.0), (4.0, 1.0), (1.0, 5.0))


def main() -> None:
    """Write a line for each point: the number of its place, and where it fell."""
    parser = argparse.ArgumentParser(description="Make points.")
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with options.out.open("w") as file:
        for count in range(options.number):
            place = count % len(PLACES)
            x, y = (random.gauss(center, 1.0) for center in PLACES[place])
            file.write(f"{place},{x:.4f},{y:.4f}\n")


if __name__ == "__main__":
    main()
