"""Digits: reads gzipped IDX files of images and labels, as tensors."""

import gzip
import struct
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

MAGIC = b"\0\0\x08"  # unsigned bytes follow; the fourth byte is the number of axes


def load(paths: Iterable[Path]) -> tuple[Tensor, Tensor]:
    """Read one file of images and one of labels, in any order.

    Images are (number, 1, height, width) from 0 to 1, labels (number).
    """
    arrays = {array.ndim: array for array in map(read_idx, paths)}
    labels, images = arrays.get(1), arrays.get(3)
    if labels is None or images is None or len(labels) != len(images):
        raise SystemExit("expected one file of images and one of as many labels")
    return images.unsqueeze(1).float() / 255, labels.long()


def read_idx(path: Path) -> Tensor:
    """Read one gzipped IDX file of bytes."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    if content[:3] != MAGIC:
        raise SystemExit(f"{path} is no IDX file of bytes")
    axes = content[3]
    shape = struct.unpack_from(f">{axes}I", content, 4)
    return torch.frombuffer(content, dtype=torch.uint8, offset=4 + 4 * axes).reshape(shape)
