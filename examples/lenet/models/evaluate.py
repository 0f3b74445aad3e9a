"""Measures a trained LeNet on digits that it has never seen.

By hand: python models/evaluate.py --model model.npz --data data/test-* --metrics metrics.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from digits import load
from network import LeNet

DIGITS = 10


def main() -> None:
    """Write the accuracy, the recall of every digit, and which digit was taken for which."""
    options = parse_options()
    images, labels = load(options.data)
    found = LeNet.load(options.model).predict(images)

    confusion = np.zeros((DIGITS, DIGITS), dtype=int)
    np.add.at(confusion, (labels, found), 1)
    right = confusion.diagonal()
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    metrics = {
        "accuracy": float(right.sum() / len(labels)),
        "recall": {str(digit): round(float(share), 6) for digit, share in enumerate(recall)},
    }
    options.metrics.write_text(json.dumps(metrics, indent=2) + "\n")
    if options.confusion:
        rows = ",\n".join(f"    {json.dumps(row)}" for row in confusion.tolist())
        options.confusion.write_text(
            f'{{\n  "rows": "digit", "columns": "found",\n  "counts": [\n{rows}\n  ]\n}}\n'
        )
    print(f"accuracy {metrics['accuracy']:.4f} on {len(labels)} digits")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure a trained LeNet.")
    parser.add_argument("--model", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="two IDX files")
    parser.add_argument(
        "--metrics", type=Path, required=True, help="where to write the numbers (.json)"
    )
    parser.add_argument(
        "--confusion", type=Path, help="where to write the confusion matrix (.json)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
