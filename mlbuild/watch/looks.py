"""Looks: what `stat` says of all that an answer rests on, and what differs between two moments."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlbuild import columns
from mlbuild.watch.footing import Footing, walk

Look = tuple[int, int, int, int] | frozenset[str] | None
Looks = Mapping[str, Look]  # by path; a folder's, which ends with /, are the names in it


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is not what it was."""

    path: str  # absolute
    how: str  # "changed" "new" "gone"


def looks_of(footing: Footing) -> Looks:
    """Return how everything in `footing` looks just now."""
    found: dict[str, Look] = {path: _look(path) for path in footing.files}
    for folder in footing.listings:
        found[f"{folder}/"] = frozenset(columns.listing(folder).split("\0"))
    for tree in footing.trees:
        for folder, names, below in walk(tree):
            found[f"{folder}/"] = frozenset([*names, *[f"{name}/" for name in below]])
            for name in names:
                path = f"{folder}/{name}"
                found[path] = _look(path, follow=False)
    return found


def _look(path: str, *, follow: bool = True) -> Look:
    """Return what tells a file from what it was before; None where there is none."""
    try:
        it = os.stat(path, follow_symlinks=follow)
    except OSError:
        return None
    return it.st_mtime_ns, it.st_ctime_ns, it.st_size, it.st_ino


def changes(then: Looks, now: Looks) -> tuple[Change, ...]:
    """Return what differs, sorted by path, as far as both moments know of it.

    Of a folder that is new or gone, what is in it is not named.
    """
    found: dict[str, str] = {}
    for path, look in now.items():
        if path not in then or then[path] == look:
            continue
        was = then[path]
        if isinstance(was, frozenset) and isinstance(look, frozenset):
            for name in (look ^ was) - {""}:
                found.setdefault(path + name, "new" if name in look else "gone")
        else:
            found[path] = "new" if was is None else "gone" if look is None else "changed"
    return tuple(
        Change(path, how)
        for path, how in sorted(found.items())
        if not any(found.get(f"{above}/") == how for above in _above(path))
    )


def _above(path: str) -> Iterator[str]:
    """Yield the folders that `path` lies in."""
    while (path := os.path.dirname(path.rstrip("/"))) != "/":
        yield path


def is_scratch(path: str) -> bool:
    """Say whether a file has the name of one that editors make for a moment."""
    name = os.path.basename(path)
    return name == "4913" or name.startswith((".", "#", "~")) or name.endswith(("~", ".tmp"))
