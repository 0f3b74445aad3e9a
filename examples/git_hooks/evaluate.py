"""Measures how well a model tells ones from digits that it has never seen."""

import argparse
import csv
import json
from pathlib import Path

from train import chance, features

EVEN = 0.5  # a digit that is more likely a one than not counts as one


def main() -> None:
    """Write the share of digits that are told rightly."""
    parser = argparse.ArgumentParser(description="Measure a model.")
    for name in ("model", "data", "metrics"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()

    weights = json.loads(options.model.read_text())["weights"]
    with options.data.open() as file:
        rows = list(csv.DictReader(file))
    guesses = [chance(weights, features(row)) > EVEN for row in rows]
    right = sum(guess == (row["digit"] == "1") for guess, row in zip(guesses, rows, strict=True))
    options.metrics.write_text(json.dumps({"accuracy": right / len(rows)}) + "\n")


if __name__ == "__main__":
    main()
