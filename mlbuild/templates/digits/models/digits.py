"""Digits: images and what they show, from IDX files."""

import gzip
import struct

import numpy as np
from numpy.typing import NDArray


def load(paths: list[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images (number, 784), from 0 to 1, and their digits (number)."""
    images = read(next(path for path in paths if "images" in path))
    labels = read(next(path for path in paths if "labels" in path))
    return images.reshape(len(images), -1) / np.float32(255), labels.astype(np.int64)


def read(path: str) -> NDArray[np.uint8]:
    """Return the array in an IDX file: its shape in big-endian numbers, then bytes."""
    with gzip.open(path) as file:
        content = file.read()
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
