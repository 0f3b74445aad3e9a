"""Draft: files to make and lines to add in a folder, written all or not at all."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from mlbuild.errors import HostError


@dataclass(frozen=True, slots=True)
class Draft:
    """What a command is about to write below `root`, an absolute folder. Paths are relative."""

    root: str
    made: Mapping[str, bytes] = field(default_factory=dict)  # whole files, none there yet
    added: Mapping[str, bytes] = field(default_factory=dict)  # what follows the text that is there

    def joined(self, other: "Draft") -> "Draft":
        """Return this draft with what another is about to write, in or below the same folder."""

        def here(path: str) -> str:
            return os.path.normpath(os.path.join(os.path.relpath(other.root, self.root), path))

        made = {here(path): content for path, content in other.made.items()}
        added = {here(path): content for path, content in other.added.items()}
        return Draft(self.root, {**self.made, **made}, {**self.added, **added})

    def conflicts(self) -> list[str]:
        """Return the paths, sorted, that are in the way; nothing below `root` is overwritten."""
        found = {path for path in self.made if os.path.lexists(os.path.join(self.root, path))}
        for path in self.added:
            place = os.path.join(self.root, path)
            if os.path.lexists(place) and (os.path.islink(place) or not os.path.isfile(place)):
                found.add(path)
        for path in (*self.made, *self.added):
            for folder in _folders(path):
                place = os.path.join(self.root, folder)
                if os.path.lexists(place) and not os.path.isdir(place):
                    found.add(folder)
        return sorted(found)

    def write(self) -> None:
        """Write everything, in order. When anything fails, all is as it was before.

        Raises HostError for what cannot be written, also when a file has appeared meanwhile.
        """
        with ExitStack() as undo:
            try:
                _make_folders(self.root, undo)
                for path, content in self.added.items():
                    self._add(path, content, undo)
                for path, content in self.made.items():
                    self._make(path, content, undo)
            except OSError as error:
                place = os.fsdecode(error.filename or self.root)
                reason = (error.strerror or "error").lower()
                raise HostError(
                    f"cannot write `{place}`: {reason}",
                    notes=("nothing was changed",),
                ) from error
            undo.pop_all()

    def _make(self, path: str, content: bytes, undo: ExitStack) -> None:
        place = os.path.join(self.root, path)
        _make_folders(os.path.dirname(place), undo)
        with open(place, "xb") as file:
            undo.callback(_quietly, lambda: os.remove(place))
            file.write(content)

    def _add(self, path: str, content: bytes, undo: ExitStack) -> None:
        place = os.path.join(self.root, path)
        if not os.path.lexists(place):
            self._make(path, content, undo)
            return
        with open(place, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            undo.callback(_quietly, lambda: os.truncate(place, size))
            if size:
                file.seek(-1, os.SEEK_END)
                content = content if file.read(1) == b"\n" else b"\n" + content
            file.write(content)


def _make_folders(place: str, undo: ExitStack) -> None:
    """Make the folder `place` and those above it that are missing."""
    if os.path.isdir(place):
        return
    _make_folders(os.path.dirname(place), undo)
    os.mkdir(place)
    undo.callback(_quietly, lambda: os.rmdir(place))


def _folders(path: str) -> list[str]:
    """Return the folders above a path: `a` and `a/b` for `a/b/c`."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _quietly(step: Callable[[], None]) -> None:
    """Go a step back, as far as that can be done: what caused it is the better error."""
    with suppress(OSError):
        step()
