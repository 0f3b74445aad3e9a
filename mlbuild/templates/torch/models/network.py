"""A small convolutional network, and what makes its training repeatable."""

import os

import torch
from torch import nn


def network() -> nn.Sequential:
    """Return a network that scores ten digits from images of 28 by 28 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def make_repeatable(seed: int) -> None:
    """Let the same seed give the same numbers, and threads follow `cpus` in `resources`."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
