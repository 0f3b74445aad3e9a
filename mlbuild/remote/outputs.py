"""Outputs: everything that a command wrote, as it is, to be there again on another machine.

Whether it is what the action declared is judged where the result is kept. A link that leads away or
a socket is no part of a tree, so it goes beside it: it is judged too.
"""

import os
import stat

from blake3 import blake3

from mlbuild.core.digest import Digest
from mlbuild.core.tree import MAX_DEPTH, Entry, Kind, Tree, escapes, safe_name, tree_of
from mlbuild.errors import HostError
from mlbuild.hashing import threads
from mlbuild.store import files

Odd = tuple[str, str, str]  # path, "link" or "other", target of a link
_THREADS_FROM = 1 << 24  # bytes of a file that is worth several threads


def scan(folder: str) -> tuple[Tree, tuple[Odd, ...]]:
    """Return what lies in a folder, in which nobody writes; raise HostError where that fails."""
    entries: list[Entry] = []
    odd: list[Odd] = []
    with files.disk_errors(folder):
        _scan(folder, "", entries, odd)
    return tree_of(entries), tuple(odd)


def open_up(folder: str) -> None:
    """Let us read everything in a folder of ours, whatever modes a command gave it."""
    with files.disk_errors(folder):
        for place, folders, names in os.walk(folder, onerror=_raise):
            for name in (*folders, *names):
                mode = os.lstat(f"{place}/{name}").st_mode
                wanted = 0o700 if stat.S_ISDIR(mode) else 0o400
                if not stat.S_ISLNK(mode) and mode & wanted != wanted:
                    os.chmod(f"{place}/{name}", stat.S_IMODE(mode) | wanted)


def _raise(error: OSError) -> None:
    raise error


def _scan(folder: str, path: str, entries: list[Entry], odd: list[Odd]) -> None:
    if path.count("/") >= MAX_DEPTH - 1:
        raise HostError(f"`{path[:200]}…` lies in more than {MAX_DEPTH} folders")
    names = os.listdir(folder)
    if path and not names:
        entries.append(Entry(path, Kind.EMPTY))
    for name in names:
        place, below = f"{folder}/{name}", f"{path}/{name}" if path else name
        found = os.lstat(place)
        if stat.S_ISDIR(found.st_mode):
            _scan(place, below, entries, odd)
        elif stat.S_ISREG(found.st_mode):
            kind = Kind.EXECUTABLE if found.st_mode & 0o111 else Kind.FILE
            entries.append(Entry(below, kind, digest_of_file(place)))
        elif stat.S_ISLNK(found.st_mode):
            target = os.readlink(place)
            if escapes(below, target):
                odd.append((below, "link", target))
            else:
                entries.append(Entry(below, Kind.SYMLINK, target=target))
        else:
            odd.append((below, "other", ""))


def digest_of_file(path: str) -> Digest:
    """Return the digest of a file that nobody changes."""
    size = os.stat(path).st_size
    hasher = blake3(max_threads=threads() if size >= _THREADS_FROM else 1)
    hasher.update_mmap(path)
    return Digest(hasher.hexdigest(), size)


def restore(odd: tuple[Odd, ...], out: str) -> None:
    """Make what no tree holds below the folder `out`, which has all else.

    Raises HostError for a name that none of ours would tell: nothing is made outside of `out`.
    """
    for path, kind, target in odd:
        parts = path.split("/")
        try:
            at = _made(out, parts)
            if kind == "link":
                os.symlink(target, f"{at}/{parts[-1]}")
            else:
                os.mkfifo(f"{at}/{parts[-1]}", 0o600)
        except (OSError, ValueError) as error:
            raise HostError(
                f"the other machine speaks of `{path[:200]!r}`, which is no output"
            ) from error


def _made(out: str, parts: list[str]) -> str:
    """Return the folder below `out` for the last of these names; no part of it is a link."""
    if not all(map(safe_name, parts)) or len(parts) > MAX_DEPTH:
        raise ValueError(parts)
    at = out
    for part in parts[:-1]:
        at = f"{at}/{part}"
        if os.path.islink(at) or not os.path.isdir(at):
            os.mkdir(at, 0o755)
    return at
