"""Difference: one place in which two files that should be equal are not."""

from dataclasses import dataclass
from mmap import mmap

Content = bytes | mmap  # of a file: slices of both are bytes

MOST = 20  # differences that are told of one output


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two files differ, and how. The first is what is kept, the second what came later."""

    path: str  # of the file, relative to the output directory
    kind: str  # "array" "number" "text" "bytes" "time stamp" "name" "order" "missing" "extra" …
    where: str  # in the file: "array `w`", "member `a.txt`", "line 3"; "" for all of it
    what: str  # one clause: "3 of 40 values differ, by at most 0.5"
    values: int = 0  # of an array: how many differ
    total: int = 0  # of how many
    largest: float | None = None  # absolute difference
    relative: float | None = None  # largest relative difference
    first: tuple[int, ...] = ()  # index of the first value that differs


def within(where: str, inner: str) -> str:
    """Return the place `inner` inside the place `where`."""
    return f"{where}, {inner}" if where and inner else where or inner
