"""Counts how many points are nearest to the centre of their own place."""

import argparse
import json
from pathlib import Path

from clusters import load, nearest


def main() -> None:
    """Write the accuracy."""
    parser = argparse.ArgumentParser(description="Judge centres.")
    for name in ("model", "points", "metrics"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    centres = [(x, y) for x, y in json.loads(options.model.read_text())]
    points = load(options.points)
    right = sum(nearest(point, centres) == place for place, point in points)
    options.metrics.write_text(json.dumps({"accuracy": right / len(points)}) + "\n")


if __name__ == "__main__":
    main()
