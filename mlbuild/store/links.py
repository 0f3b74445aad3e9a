"""Symlinks of a tree: whether following them, as a file system would, leads out of it.

The text of a link is not enough: where `a` links to a folder further up, `a/..` is not where it
seems to be.
"""

from collections.abc import Iterable

from mlbuild.core.tree import Entry, Kind

_HOPS = 40  # links that Linux follows for one path


def stray_link(entries: Iterable[Entry]) -> str | None:
    """Return the path of a symlink that leads out of the tree, or None."""
    targets = {entry.path: entry.target for entry in entries if entry.kind is Kind.SYMLINK}
    for path, target in targets.items():
        if target.startswith("/") or not _stays(path, targets):
            return path
    return None


def _stays(path: str, targets: dict[str, str]) -> bool:
    """Say whether following `path` stays in the tree. A loop does: it leads nowhere."""
    here: list[str] = []
    ahead = path.split("/")[::-1]
    hops = 0
    while ahead:
        part = ahead.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not here:
                return False
            here.pop()
            continue
        here.append(part)
        target = targets.get("/".join(here))
        if target is not None:
            hops += 1
            if hops > _HOPS:
                return True
            if target.startswith("/"):
                return False
            here.pop()
            ahead.extend(target.split("/")[::-1])
    return True
