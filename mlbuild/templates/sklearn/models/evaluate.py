"""Measures the model on digits that it has not seen."""

import json
import os

import numpy as np
from sklearn.metrics import accuracy_score, f1_score


def main() -> None:
    """Write accuracy and mean F1 of the model."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    with np.load(context["inputs"]["test"]) as digits:
        images, labels = digits["images"], digits["labels"]
    with np.load(context["inputs"]["model"]) as model:
        scores = images @ model["coefficients"].T + model["intercepts"]
        found = model["classes"][scores.argmax(axis=1)]
    metrics = {
        "accuracy": round(float(accuracy_score(labels, found)), 6),
        "f1": round(float(f1_score(labels, found, average="macro")), 6),
    }
    print(f"{(found == labels).sum()} of {len(labels)} digits found")
    with open(context["outputs"]["metrics.json"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
