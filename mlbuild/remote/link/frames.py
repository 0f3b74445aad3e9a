"""Frames between machines: words as JSON, and bytes behind them.

No format of Python's own: what another machine says is read as words and numbers, and no more. It
is not trusted: a frame has at most LARGEST bytes, and only those that arrive take memory.
"""

import json
import os
import select
import struct
from collections.abc import Callable, Mapping
from typing import Any

Words = Mapping[str, Any]
LARGEST = 128 << 20  # bytes of a frame: an order and its words
_HEAD = struct.Struct("<I")
_PIECE = 1 << 20  # bytes of one read(2)


def say(fd: int, words: Words, content: bytes = b"", *, within: float = 0.0) -> None:
    """Write one frame; raise BrokenPipeError when nobody is there to read it.

    Where `fd` does not block, raise TimeoutError once nobody read anything for so many seconds.
    """
    text = json.dumps(words).encode() + b"\n"
    left = memoryview(_HEAD.pack(len(text) + len(content)) + text + content)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            _await_reader(fd, within)


def _await_reader(fd: int, seconds: float) -> None:
    mouth = select.poll()
    mouth.register(fd, select.POLLOUT)
    if not mouth.poll(seconds * 1000):
        raise TimeoutError("nobody reads")


def hear(
    fd: int, *, at_each: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], bytes] | None:
    """Return the next frame; None at the end of all. Raises ValueError for what is none.

    `at_each` is called whenever bytes have come.
    """
    head = _exactly(fd, _HEAD.size, at_each)
    if head is None:
        return None
    (size,) = _HEAD.unpack(head)
    if size > LARGEST:
        raise ValueError(f"a frame of {size} bytes")
    frame = _exactly(fd, size, at_each)
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


def _exactly(fd: int, size: int, at_each: Callable[[], None]) -> bytes | None:
    first = os.read(fd, min(size, _PIECE)) if size else b""
    if len(first) == size:
        return first
    found = bytearray(first)
    while len(found) < size:
        at_each()
        more = os.read(fd, min(size - len(found), _PIECE))
        if not more:
            return None
        found += more
    return bytes(found)
