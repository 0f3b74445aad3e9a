"""Digits: images and what they show, from IDX files, as tensors."""

import gzip
import struct

import torch
from torch import Tensor


def load(paths: list[str]) -> tuple[Tensor, Tensor]:
    """Return images (number, 1, 28, 28), from 0 to 1, and their digits (number)."""
    images = read(next(path for path in paths if "images" in path))
    labels = read(next(path for path in paths if "labels" in path))
    return images.unsqueeze(1).float() / 255, labels.long()


def read(path: str) -> Tensor:
    """Return the array in an IDX file: its shape in big-endian numbers, then bytes."""
    with gzip.open(path) as file:
        content = file.read()
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return torch.tensor(list(content[4 + 4 * dimensions :]), dtype=torch.uint8).reshape(shape)
