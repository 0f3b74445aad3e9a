"""The network: LeNet-5 (LeCun et al., 1998) with ReLU and max pooling."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from layers import Array, Conv, Dense, Flatten, Layer, MaxPool, Relu
from numpy.typing import NDArray


class LeNet:
    """Scores for ten digits from images of 28 by 28 pixels."""

    def __init__(self, *, rng: np.random.Generator) -> None:
        self.layers: dict[str, Layer] = {
            "conv1": Conv(1, 6, size=5, pad=2, rng=rng),
            "relu1": Relu(),
            "pool1": MaxPool(),
            "conv2": Conv(6, 16, size=5, rng=rng),
            "relu2": Relu(),
            "pool2": MaxPool(),
            "flat": Flatten(),
            "fc1": Dense(400, 120, rng=rng),
            "relu3": Relu(),
            "fc2": Dense(120, 84, rng=rng),
            "relu4": Relu(),
            "fc3": Dense(84, 10, rng=rng),
        }

    def forward(self, images: Array) -> Array:
        """Return a score for every digit, (number, 10)."""
        x = images
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def backward(self, gradient: Array) -> None:
        """Set every layer's gradients from the one by the scores."""
        for layer in reversed(self.layers.values()):
            gradient = layer.backward(gradient)

    def predict(self, images: Array, *, batch: int = 500) -> NDArray[np.int64]:
        """Return the most likely digit of each image."""
        starts = range(0, len(images), batch)
        return np.concatenate(
            [self.forward(images[at : at + batch]).argmax(axis=1) for at in starts]
        )

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Yield name and value of every weight, in a fixed order."""
        for layer_name, layer in self.layers.items():
            for name, value in layer.weights.items():
                yield f"{layer_name}.{name}", value

    def gradients(self) -> Iterator[tuple[str, Array, Array]]:
        """Yield name, value and last gradient of every weight, in the same order."""
        for layer_name, layer in self.layers.items():
            for name, gradient in layer.gradients.items():
                yield f"{layer_name}.{name}", layer.weights[name], gradient

    def save(self, path: Path) -> None:
        """Write the weights to an .npz file."""
        np.savez(path, allow_pickle=False, **dict(self.weights()))

    @classmethod
    def load(cls, path: Path) -> "LeNet":
        """Read what `save` wrote."""
        network = cls(rng=np.random.default_rng(0))
        with np.load(path, allow_pickle=False) as saved:
            for name, value in network.weights():
                value[...] = saved[name]
        return network
