"""Splits the digits that scikit-learn ships into those to learn and those to test with."""

import json
import os

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    """Write train.npz and test.npz, each with `images` (number, 64) and `labels`."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    images, labels = load_digits(return_X_y=True)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images / 16,
        labels,
        test_size=context["params"]["test_share"],
        random_state=context["seed"],
        stratify=labels,
    )
    outputs = context["outputs"]
    np.savez(outputs["train.npz"], images=train_images, labels=train_labels)
    np.savez(outputs["test.npz"], images=test_images, labels=test_labels)
    print(f"{len(train_labels)} digits to learn, {len(test_labels)} to test with")


if __name__ == "__main__":
    main()
