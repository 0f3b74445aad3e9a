"""Layers of a network in plain NumPy. Images are (number, height, width, channels), float32.

A layer remembers what its last `forward` saw; `backward` takes the gradient of the loss by its
output, keeps the gradients of its own weights in `gradients` and returns the one by its input.
"""

from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Layer(Protocol):
    """One step of a network."""

    weights: dict[str, Array]

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients of the weights, after `backward`."""

    def forward(self, x: Array) -> Array:
        """Return the layer's output."""

    def backward(self, gradient: Array) -> Array:
        """Return the gradient by the input of the last `forward`."""


def he(rng: np.random.Generator, inputs: int, outputs: int) -> Array:
    """Draw a weight matrix that keeps the variance through a ReLU (He et al., 2015)."""
    return rng.standard_normal((inputs, outputs), dtype=np.float32) * np.float32(
        np.sqrt(2 / inputs)
    )


class Dense:
    """A fully connected layer."""

    def __init__(self, inputs: int, outputs: int, *, rng: np.random.Generator) -> None:
        self.weights = {"w": he(rng, inputs, outputs), "b": np.zeros(outputs, np.float32)}
        self.gradients: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        self.x = x
        y: Array = x @ self.weights["w"] + self.weights["b"]
        return y

    def backward(self, gradient: Array) -> Array:
        self.gradients = {"w": self.x.T @ gradient, "b": gradient.sum(axis=0)}
        return gradient @ self.weights["w"].T


class Conv:
    """A square convolution: every window becomes a row (im2col), so that it is a Dense layer."""

    def __init__(
        self, channels: int, filters: int, *, size: int, pad: int = 0, rng: np.random.Generator
    ) -> None:
        self.dense = Dense(channels * size * size, filters, rng=rng)
        self.weights = self.dense.weights
        self.size, self.pad = size, pad

    @property
    def gradients(self) -> dict[str, Array]:
        return self.dense.gradients

    def forward(self, x: Array) -> Array:
        pad = (self.pad, self.pad)
        padded = np.pad(x, ((0, 0), pad, pad, (0, 0)))
        windows = sliding_window_view(padded, (self.size, self.size), axis=(1, 2))
        self.padded, self.windows = padded.shape, windows.shape
        number, height, width = windows.shape[:3]
        rows = windows.reshape(number * height * width, -1)
        return self.dense.forward(rows).reshape(number, height, width, -1)

    def backward(self, gradient: Array) -> Array:
        rows = self.dense.backward(gradient.reshape(-1, gradient.shape[-1]))
        windows = rows.reshape(self.windows)
        _, height, width = self.windows[:3]
        total = np.zeros(self.padded, np.float32)
        for y in range(self.size):
            for x in range(self.size):
                total[:, y : y + height, x : x + width] += windows[..., y, x]
        inner = slice(self.pad, -self.pad or None)
        return total[:, inner, inner]


class Relu:
    """Negative values become zero."""

    def __init__(self) -> None:
        self.weights: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        self.positive = x > 0
        return x * self.positive

    def backward(self, gradient: Array) -> Array:
        return gradient * self.positive


class MaxPool:
    """The largest value of each 2 by 2 block; equal ones share the gradient."""

    def __init__(self) -> None:
        self.weights: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        number, height, width, channels = x.shape
        blocks = x.reshape(number, height // 2, 2, width // 2, 2, channels)
        largest = blocks.max(axis=(2, 4), keepdims=True)
        self.share = (blocks == largest).astype(np.float32)
        self.share /= self.share.sum(axis=(2, 4), keepdims=True)
        y: Array = largest[:, :, 0, :, 0]
        return y

    def backward(self, gradient: Array) -> Array:
        number, height, width, channels = gradient.shape
        spread: Array = self.share * gradient[:, :, np.newaxis, :, np.newaxis]
        return spread.reshape(number, 2 * height, 2 * width, channels)


class Flatten:
    """An image becomes a row."""

    def __init__(self) -> None:
        self.weights: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient: Array) -> Array:
        return gradient.reshape(self.shape)


def cross_entropy(scores: Array, labels: NDArray[np.uint8]) -> tuple[float, Array]:
    """Return the mean loss of a softmax over `scores`, and its gradient."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    sums = exponents.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.mean(np.log(sums[:, 0]) - shifted[rows, labels]))
    gradient = exponents / sums
    gradient[rows, labels] -= 1
    return loss, gradient / np.float32(len(labels))
