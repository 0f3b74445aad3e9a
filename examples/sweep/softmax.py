"""Softmax regression on digits of 7 by 7 pixels, in plain Python."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

DIGITS = 10
Image = list[float]  # 49 pixels from 0 to 1, then a 1 for the bias
Model = list[Image]  # weights for each digit


def load(path: Path) -> list[tuple[Image, int]]:
    """Read images, each with the digit that it shows."""
    with path.open(newline="") as file:
        return [
            ([int(pixel) / 9 for pixel in row["pixels"]] + [1.0], int(row["digit"]))
            for row in csv.DictReader(file)
        ]


def shares(model: Model, image: Image) -> list[float]:
    """Return how likely the image shows each digit."""
    scores = [sum(map(float.__mul__, weights, image)) for weights in model]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def step(model: Model, image: Image, digit: int, *, lr: float) -> float:
    """Move the weights towards one example; return the loss that they had on it."""
    found = shares(model, image)
    for at, weights in enumerate(model):
        change = lr * (found[at] - (at == digit))
        for place, pixel in enumerate(image):
            if pixel:
                weights[place] -= change * pixel
    return -math.log(max(found[digit], 1e-12))


def guess(model: Model, image: Image) -> int:
    """Return the likeliest digit."""
    found = shares(model, image)
    return found.index(max(found))


def accuracy(model: Model, examples: Sequence[tuple[Image, int]]) -> float:
    """Return the share of examples that are recognised."""
    return sum(guess(model, image) == digit for image, digit in examples) / len(examples)
