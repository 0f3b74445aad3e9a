"""A network with one hidden layer. Its weights are a dict of arrays."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weights = dict[str, Array]


def fresh(*, inputs: int, hidden: int, rng: np.random.Generator) -> Weights:
    """Return random weights for ten digits."""
    first = rng.normal(0, (2 / inputs) ** 0.5, (inputs, hidden))
    second = rng.normal(0, (1 / hidden) ** 0.5, (hidden, 10))
    return {
        "w1": first.astype(np.float32),
        "b1": np.zeros(hidden, np.float32),
        "w2": second.astype(np.float32),
        "b2": np.zeros(10, np.float32),
    }


def forward(weights: Weights, images: Array) -> tuple[Array, Array]:
    """Return the hidden layer, and a score for every digit."""
    hidden = np.maximum(images @ weights["w1"] + weights["b1"], 0)
    return hidden, hidden @ weights["w2"] + weights["b2"]


def gradients(weights: Weights, images: Array, labels: NDArray[np.int64]) -> tuple[float, Weights]:
    """Return the cross-entropy of a batch, and its gradient by every weight."""
    hidden, scores = forward(weights, images)
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores)
    chances /= chances.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(chances[rows, labels] + 1e-12).mean())
    chances[rows, labels] -= 1
    above = chances / np.float32(len(labels))
    below = (above @ weights["w2"].T) * (hidden > 0)
    return loss, {
        "w1": images.T @ below,
        "b1": below.sum(axis=0),
        "w2": hidden.T @ above,
        "b2": above.sum(axis=0),
    }
