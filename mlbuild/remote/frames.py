"""Frames between machines: words as JSON, and bytes behind them.

No format of Python's own: what another machine says is read as words and numbers, and no more.
"""

import json
from collections.abc import Mapping
from typing import Any

from mlbuild.frames import receive, send

Words = Mapping[str, Any]


def say(fd: int, words: Words, content: bytes = b"") -> None:
    """Write one frame; raise BrokenPipeError when nobody is there to read it."""
    send(fd, json.dumps(words).encode() + b"\n" + content)


def hear(fd: int) -> tuple[dict[str, Any], bytes] | None:
    """Return the next frame; None at the end of all. Raises ValueError for what is none."""
    frame = receive(fd)
    if frame is None:
        return None
    head, _, content = frame.partition(b"\n")
    words = json.loads(head)
    if not isinstance(words, dict):
        raise ValueError("a frame without words")  # noqa: TRY004 - a format, not a type of ours
    return words, content
