"""Frames between machines: words as JSON, and bytes behind them.

No format of Python's own: what another machine says is read as words and numbers, and no more. It
is not trusted: a frame has at most LARGEST bytes, and only those that arrive take memory.
"""

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

from mlbuild.frames import send

Words = Mapping[str, Any]
LARGEST = 128 << 20  # bytes of a frame: an order and its words
_HEAD = struct.Struct("<I")
_PIECE = 1 << 20  # bytes of one read(2)


def say(fd: int, words: Words, content: bytes = b"") -> None:
    """Write one frame; raise BrokenPipeError when nobody is there to read it."""
    send(fd, json.dumps(words).encode() + b"\n" + content)


def hear(fd: int) -> tuple[dict[str, Any], bytes] | None:
    """Return the next frame; None at the end of all. Raises ValueError for what is none."""
    head = _exactly(fd, _HEAD.size)
    if head is None:
        return None
    (size,) = _HEAD.unpack(head)
    if size > LARGEST:
        raise ValueError(f"a frame of {size} bytes")
    frame = _exactly(fd, size)
    return _read(frame) if frame is not None else None


def _read(frame: bytes) -> tuple[dict[str, Any], bytes]:
    head, _, content = frame.partition(b"\n")
    try:
        words = json.loads(head)
    except RecursionError as error:
        raise ValueError("words that are nested too deeply") from error
    if not isinstance(words, dict):
        raise ValueError("a frame without words")  # noqa: TRY004 - a format, not a type of ours
    return words, content


def _exactly(fd: int, size: int) -> bytes | None:
    first = os.read(fd, min(size, _PIECE)) if size else b""
    if len(first) == size:
        return first
    found = bytearray(first)
    while len(found) < size:
        more = os.read(fd, min(size - len(found), _PIECE))
        if not more:
            return None
        found += more
    return bytes(found)
