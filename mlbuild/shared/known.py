"""Known: which objects are in a bucket already, so that nothing is sent twice.

A machine remembers what it sent and what listings named, for three days at most: by then whoever
sweeps the bucket (after a longer time of grace) may have removed it. One file a day, a line for
each object with its size; a line that cannot be read is skipped. A second kind of line names trees
whose bytes were found broken, so that the next publication replaces their entries.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock

DAYS = 3
LIMIT = 8 << 20  # bytes of one day; what comes after them is not remembered
_DAY = 24 * 3600 * 10**9  # ns
_LINE = re.compile(r"([+!]) ([A-Za-z0-9._/-]{1,900}) (\d{1,10})")
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Known:
    """What is remembered of one bucket in the folder `folder`; "" keeps it in this process only.

    Any number of processes write to the folder at once. That it cannot be read or written is no
    error: then things are sent again.
    """

    def __init__(self, folder: str, *, now: Callable[[], int] = time.time_ns) -> None:
        self._folder = folder
        self._now = now
        self._door = Lock()
        self._sizes: dict[str, int] | None = None
        self._broken: set[str] = set()

    def size(self, name: str) -> int | None:
        """Return the size of an object that is there; None when that is not known."""
        with self._door:
            return self._loaded().get(name)

    def add(self, sizes: Mapping[str, int]) -> None:
        """Remember that objects of these names and sizes are there."""
        with self._door:
            known = self._loaded()
            fresh = {name: size for name, size in sizes.items() if known.get(name) != size}
            known.update(fresh)
            self._append("".join([f"+ {name} {size}\n" for name, size in fresh.items()]))

    def is_broken(self, tree: str) -> bool:
        """Say whether bytes of the tree with this hash were gone or wrong."""
        with self._door:
            self._loaded()
            return tree in self._broken

    def forget(self, *, broken: str) -> None:
        """Forget all objects, for bytes of the tree with this hash are gone or wrong."""
        with self._door:
            self._sizes = {}
            self._broken.add(broken)
            with suppress(OSError):
                for name in self._days():
                    os.unlink(f"{self._folder}/{name}")
            self._append("".join([f"! {tree} 1\n" for tree in sorted(self._broken)]))

    def mend(self, tree: str) -> None:
        """Note that the bytes of a tree are there again."""
        with self._door:
            self._loaded()
            if tree in self._broken:
                self._broken.discard(tree)
                self._append(f"! {tree} 0\n")

    def _days(self) -> list[str]:
        """Return the names of the files, oldest first."""
        if not self._folder:
            return []
        return sorted(name for name in os.listdir(self._folder) if name.startswith("day-"))

    def _today(self) -> int:
        return self._now() // _DAY

    def _loaded(self) -> dict[str, int]:
        """Return the sizes, read when first needed; files too old, or of the future, go."""
        if self._sizes is None:
            self._sizes = {}
            today = self._today()
            fresh = {f"day-{today - ago:07}" for ago in range(DAYS)}
            with suppress(OSError):
                for name in self._days():
                    if name in fresh:
                        self._read(f"{self._folder}/{name}")
                    else:
                        os.unlink(f"{self._folder}/{name}")
        return self._sizes

    def _read(self, path: str) -> None:
        assert self._sizes is not None
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                found = _LINE.fullmatch(line.rstrip("\n"))
                if not found:
                    continue
                kind, name, size = found.groups()
                if kind == "+":
                    self._sizes[name] = int(size)
                elif size == "0":
                    self._broken.discard(name)
                else:
                    self._broken.add(name)

    def _append(self, lines: str) -> None:
        """Add lines to the file of today, in one write that no other process can split."""
        if not (self._folder and lines):
            return
        with suppress(OSError):
            os.makedirs(self._folder, 0o700, exist_ok=True)
            fd = os.open(f"{self._folder}/day-{self._today():07}", _APPEND, 0o600)
            try:
                if os.fstat(fd).st_size < LIMIT:
                    os.write(fd, lines.encode())
            finally:
                os.close(fd)
