"""Pin: one package of a lock as it is to be installed; its one line in the canonical list."""
# ruff: noqa: INP001 - read by lock.py, no module of a package

from dataclasses import dataclass


class LockError(Exception):
    """A line that a lock may not have."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, order=True)
class Pin:
    """One package at one version, as one of several files."""

    name: str  # normalised, extras included
    marker: str
    version: str  # with its operator
    hashes: tuple[str, ...]
    line: int = 0  # of the lock; never in the list
    is_source: bool = False  # whether it is there as its source only

    def __str__(self) -> str:
        hashes = "".join(f" --hash={one}" for one in self.hashes)
        return f"{self.name}{self.version}{hashes}\n"
