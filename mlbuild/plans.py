"""Kept plans: the graph is read again only when something that it was read from has changed."""

import marshal
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlbuild import columns, state
from mlbuild.core.digest import digest_of
from mlbuild.core.plan import Plan, pack, unpack
from mlbuild.workspace import Workspace

_CHECK = 64  # bytes of its digest


@dataclass(frozen=True, slots=True)
class Planned:
    """A Plan, and all that it was read from."""

    plan: Plan
    files: tuple[str, ...]  # absolute paths of BUILD.ml, .bzl
    folders: tuple[str, ...]  # workspace-relative folders whose listing matters
    shapes: bytes = b""  # what patching it takes (`graph/patch.py`)
    looks: bytes = b""  # columns of the files as they were read; nothing where not known
    names: tuple[str, ...] = ()  # listings of the folders as they were read; likewise

    def read(self) -> dict[str, bytes]:
        """Return the looks of the files by path; nothing for those that are not known."""
        width = columns.WIDTH
        return {
            file: self.looks[number * width : (number + 1) * width]
            for number, file in enumerate(self.files)
        }


def recall(workspace: Workspace, words: tuple[str, ...]) -> tuple[Planned, tuple[str, ...]] | None:
    """Return the plan kept for a request, and those of its files that differ by now.

    None where there is no plan, or where a file has gone or a listing has changed.
    """
    try:
        with open(_place(workspace, words), "rb") as file:
            content = file.read()
        if content[:_CHECK] != _check(content[_CHECK:]):
            return None
        asked, files, looks, folders, listings, packed, shapes = marshal.loads(content[_CHECK:])  # noqa: S302 - ours
    except (OSError, ValueError, EOFError, TypeError):
        return None
    now = columns.take(list(files), at=None, follow=True)
    if asked != _asked(words) or now is None:
        return None
    for folder, (own, known) in zip(folders, listings, strict=True):
        place = os.path.join(workspace.root, folder)
        if _own(place) != own and columns.listing(place) != known:
            return None
    differ = () if now == looks else tuple(_differing(files, now, looks))
    names = tuple([known for _, known in listings])
    return Planned(unpack(packed), files, folders, shapes, looks, names), differ


def _differing(files: Sequence[str], now: bytes, then: bytes) -> Iterator[str]:
    """Yield those of `files` whose columns are not what they were."""
    for number, file in enumerate(files):
        at = slice(number * columns.WIDTH, (number + 1) * columns.WIDTH)
        if now[at] != then[at]:
            yield file


def keep(workspace: Workspace, words: tuple[str, ...], planned: Planned, *, since: int) -> Planned:
    """Keep a plan whose reading began at `since` (ns); return it with the looks of its files.

    One that cannot be kept is returned as it is, and read again the next time.
    """
    looks = columns.take(list(planned.files), at=None, follow=True)
    if (
        looks is None
        or columns.young(looks, since)  # an edit of the same size might be missed
        or _moved(workspace.root, planned.files, since=since)
    ):
        return planned
    listings: list[tuple[bytes, str]] = []
    for folder in planned.folders:
        place = os.path.join(workspace.root, folder)
        own = _own(place)
        is_young = columns.young(own, since)
        if is_young and not (folder == "" and columns.young(_own(workspace.state), since)):
            return planned  # what is in it now may not have been there when it was read
        listings.append((b"" if is_young else own, columns.listing(place)))
    kept = (planned.files, looks, planned.folders, listings, pack(planned.plan), planned.shapes)
    body = marshal.dumps((_asked(words), *kept))
    state.keep(_place(workspace, words), _check(body) + body)
    return replace(planned, looks=looks, names=tuple([known for _, known in listings]))


def _moved(root: str, files: Sequence[str], *, since: int) -> bool:
    """Say whether a folder may have come to where one of `files` was read from.

    The files in it may be older than that, so that their own looks do not tell.
    """
    pending = {os.path.dirname(file) for file in files}
    seen: set[str] = set()
    while pending:
        folder = pending.pop()
        if folder not in seen and folder.startswith(f"{root.rstrip('/')}/"):
            seen.add(folder)
            if columns.young(_own(folder), since):
                return True
            pending.add(os.path.dirname(folder))
    return False


def _check(body: bytes) -> bytes:
    """Return what must stand before `body`: damage must not pass for a plan."""
    return digest_of(body).hash.encode()


def _asked(words: tuple[str, ...]) -> tuple[str, ...]:
    return (*words, sys.version)


def _place(workspace: Workspace, words: tuple[str, ...]) -> str:
    name = zlib.crc32("\0".join(_asked(words)).encode("utf-8", "surrogateescape"))
    return os.path.join(workspace.state, "plans", f"{name:08x}")


def _own(folder: str) -> bytes:
    """Return the stamp of a folder, nothing when there is none."""
    try:
        return columns.stamp(os.stat(folder))
    except OSError:
        return b""
