"""Measures a model on digits that it has never seen."""

import argparse
import json
from pathlib import Path

from softmax import DIGITS, guess, load


def main() -> None:
    """Write the accuracy, and which digit was taken for which."""
    parser = argparse.ArgumentParser(description="Measure a model.")
    for name in ("model", "data", "metrics", "confusion"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()

    model, examples = json.loads(options.model.read_text()), load(options.data)
    confusion = [[0] * DIGITS for _ in range(DIGITS)]
    for image, digit in examples:
        confusion[digit][guess(model, image)] += 1
    right = sum(confusion[digit][digit] for digit in range(DIGITS))
    options.metrics.write_text(json.dumps({"accuracy": right / len(examples)}) + "\n")
    options.confusion.write_text(json.dumps({"digits by guesses": confusion}) + "\n")


if __name__ == "__main__":
    main()
