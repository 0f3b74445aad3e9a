"""Frames: whole messages, as bytes, through a pipe between two processes of ours."""

import os
import struct

_HEAD = struct.Struct("<I")


def send(fd: int, message: bytes) -> None:
    """Write `message`; raise BrokenPipeError when nobody is there to read it."""
    left = memoryview(_HEAD.pack(len(message)) + message)
    while left:
        left = left[os.write(fd, left) :]


def receive(fd: int) -> bytes | None:
    """Return the next message, None at the end of all."""
    head = _exactly(fd, _HEAD.size)
    return _exactly(fd, _HEAD.unpack(head)[0]) if head is not None else None


def _exactly(fd: int, size: int) -> bytes | None:
    found = os.read(fd, size) if size else b""
    while len(found) < size:
        more = os.read(fd, size - len(found))
        if not more:
            return None
        found += more
    return found
