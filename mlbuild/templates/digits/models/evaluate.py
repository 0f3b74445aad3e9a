"""Measures the network on digits that it has not seen."""

import json
import os

import numpy as np
from digits import load
from network import forward


def main() -> None:
    """Write the share of digits that the network finds, over all and for each."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    images, labels = load(context["inputs"]["test"])
    with np.load(context["inputs"]["model"], allow_pickle=False) as model:
        _, scores = forward(dict(model), images)
    right = scores.argmax(axis=1) == labels
    metrics = {
        "accuracy": float(right.mean()),
        "recall": {
            str(digit): round(float(right[labels == digit].mean()), 6) for digit in range(10)
        },
    }
    print(f"{right.sum()} of {len(labels)} digits found")
    with open(context["outputs"]["metrics.json"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
