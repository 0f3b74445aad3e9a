"""Digits: reads gzipped IDX files of images and labels."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]  # (number, height, width, 1), each pixel from 0 to 1
Labels = NDArray[np.uint8]  # (number,)

MAGIC = b"\0\0\x08"  # unsigned bytes follow; the fourth byte is the number of axes


def load(paths: Iterable[Path]) -> tuple[Images, Labels]:
    """Read one file of images and one of labels, in any order; a folder stands for its files."""
    files = [file for path in paths for file in files_at(path)]
    arrays = {array.ndim: array for array in map(read_idx, files)}
    labels, images = arrays.get(1), arrays.get(3)
    if labels is None or images is None or len(labels) != len(images) or len(arrays) < len(files):
        names = ", ".join(file.name for file in files)
        raise SystemExit(f"expected one file of images and one of as many labels, got: {names}")
    return images[..., np.newaxis].astype(np.float32) / np.float32(255), labels


def files_at(path: Path) -> list[Path]:
    """Return the IDX files in a folder, or the one file that `path` is."""
    return sorted(path.glob("*-ubyte.gz")) if path.is_dir() else [path]


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one gzipped IDX file of bytes."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != MAGIC:
        raise SystemExit(f"{path} is no IDX file of bytes")
    axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)
