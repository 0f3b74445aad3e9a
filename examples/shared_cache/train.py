"""Finds the centres of three clusters, without being told which point belongs where."""

import argparse
import json
from pathlib import Path

from clusters import Point, load, nearest


def main() -> None:
    """Write the centres: k-means, begun at the first point of each place."""
    parser = argparse.ArgumentParser(description="Find clusters.")
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    points = [point for _, point in load(options.points)]
    centres = points[:3]
    for _ in range(options.rounds):
        groups: list[list[Point]] = [[] for _ in centres]
        for point in points:
            groups[nearest(point, centres)].append(point)
        centres = [_mean(group) for group in groups]
    options.out.write_text(json.dumps(centres) + "\n")


def _mean(points: list[Point]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


if __name__ == "__main__":
    main()
