"""Learns to tell ones from other digits by how wide and high they are."""

import argparse
import csv
import json
import math
from pathlib import Path

RATE = 0.5


def main() -> None:
    """Write the weights of a logistic regression."""
    parser = argparse.ArgumentParser(description="Train a model.")
    for name in ("data", "model"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()

    with options.data.open() as file:
        rows = list(csv.DictReader(file))
    examples = [(features(row), row["digit"] == "1") for row in rows]
    weights = [0.0] * len(examples[0][0])
    for _ in range(options.steps):
        slopes = [0.0] * len(weights)
        for given, wanted in examples:
            error = chance(weights, given) - wanted
            slopes = [slope + error * one for slope, one in zip(slopes, given, strict=True)]
        weights = [
            weight - RATE * slope / len(examples)
            for weight, slope in zip(weights, slopes, strict=True)
        ]
    options.model.write_text(json.dumps({"weights": weights}) + "\n")
    print(f"learned {len(weights)} weights from {len(examples)} digits")


def features(row: dict[str, str]) -> list[float]:
    """Return what the model sees of a digit: 1, its width and height in pixels, scaled."""
    return [1.0, int(row["width"]) / 10, int(row["height"]) / 10]


def chance(weights: list[float], given: list[float]) -> float:
    """Return how likely a digit is a one."""
    return 1 / (1 + math.exp(-sum(a * b for a, b in zip(weights, given, strict=True))))


if __name__ == "__main__":
    main()
