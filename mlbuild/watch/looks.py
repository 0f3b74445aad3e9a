"""Looks: what `stat` says of all that an answer rests on, and what differs between two moments."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlbuild import columns
from mlbuild.watch.footing import Footing, walk

Looks = Mapping[str, bytes | str | None]  # by path; a folder's, which ends with /, are its names


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is not what it was."""

    path: str  # absolute
    how: str  # "changed" "new" "gone"


def looks_of(footing: Footing) -> Looks:
    """Return how everything in `footing` looks just now."""
    found: dict[str, bytes | str | None] = {path: _look(path) for path in footing.files}
    for folder in footing.listings:
        found[f"{folder}/"] = columns.listing(folder)
    for tree in footing.trees:
        for folder, names in walk(tree):
            found[f"{folder}/"] = columns.listing(folder)
            for name in names:
                path = os.path.join(folder, name)
                found[path] = _look(path, follow=False)
    return found


def _look(path: str, *, follow: bool = True) -> bytes | None:
    """Return the columns of a file; None where there is none."""
    try:
        return columns.stamp(os.stat(path, follow_symlinks=follow))
    except OSError:
        return None


def changes(then: Looks, now: Looks) -> tuple[Change, ...]:
    """Return what differs, sorted by path, as far as both moments know of it.

    Of a folder that is new or gone, what is in it is not named.
    """
    found: dict[str, str] = {}
    for path, look in now.items():
        if path not in then or then[path] == look:
            continue
        if path.endswith("/"):
            for name, how in _names(str(then[path]), str(look)):
                found.setdefault(path + name, how)
        else:
            found[path] = "new" if then[path] is None else "gone" if look is None else "changed"
    return tuple(
        Change(path, how)
        for path, how in sorted(found.items())
        if not any(found.get(f"{above}/") == how for above in _above(path))
    )


def _above(path: str) -> Iterator[str]:
    """Yield the folders that `path` lies in."""
    while (path := os.path.dirname(path.rstrip("/"))) != "/":
        yield path


def _names(then: str, now: str) -> Iterator[tuple[str, str]]:
    """Yield the names that appeared in a listing or left it."""
    before, after = set(then.split("\0")) - {""}, set(now.split("\0")) - {""}
    yield from ((name, "new") for name in after - before)
    yield from ((name, "gone") for name in before - after)


def is_scratch(path: str) -> bool:
    """Say whether a file has the name of one that editors make for a moment."""
    name = os.path.basename(path)
    return name == "4913" or name.startswith((".", "#", "~")) or name.endswith(("~", ".tmp"))
