"""Jsonl: events as JSON, one object a line, for programs (docs/cli.md)."""

import json
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TextIO

from mlbuild.core.digest import Digest
from mlbuild.core.event import BuildFinished, Event
from mlbuild.core.result import Content


class Jsonl:
    """Writes every event as one line."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._start = clock()

    def __call__(self, event: Event) -> None:
        """Write what happened."""
        seconds = round(self._clock() - self._start, 4)
        self._stream.write(event_line(event, seconds))
        if isinstance(event, BuildFinished):
            self._stream.flush()

    def close(self) -> None:
        """Flush what was written. The stream stays open: it is its owner's."""
        self._stream.flush()


def event_line(event: Event, seconds: float) -> str:
    """Return one line: the event's type, when it happened, its fields."""
    named: dict[str, Any] = {"type": type(event).__name__, "time": seconds}
    return json.dumps(named | _fields(event), default=_plain, separators=(",", ":")) + "\n"


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _plain(value: object) -> object:
    """Return what JSON can say for a value of ours."""
    match value:
        case Digest():
            return f"{value.hash}:{value.size}"
        case Content():
            return str(value)
        case _ if is_dataclass(value):
            return _fields(value)
        case _:
            raise TypeError(f"an event holds {value!r}")
