"""The network: LeNet-5 (LeCun et al., 1998) with ReLU and max pooling."""

import torch
from torch import Tensor, nn


def lenet() -> nn.Sequential:
    """Return scores for ten digits from images of 28 by 28 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def device() -> torch.device:
    """Return the GPU that this process may use, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def found(network: nn.Module, images: Tensor) -> Tensor:
    """Return the most likely digit of each image."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(part).argmax(dim=1) for part in images.split(500)])
