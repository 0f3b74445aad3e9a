"""Kept plans: the graph is read again only when something that it was read from has changed."""

import marshal
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    return Planned(unpack(packed), files, folders, shapes), differ


def _differing(files: Sequence[str], now: bytes, then: bytes) -> Iterator[str]:
    """Yield those of `files` whose columns are not what they were."""
    for number, file in enumerate(files):
        at = slice(number * columns.WIDTH, (number + 1) * columns.WIDTH)
        if now[at] != then[at]:
            yield file


def keep(workspace: Workspace, words: tuple[str, ...], planned: Planned, *, since: int) -> None:
    """Keep a plan whose reading began at `since` (ns); what cannot be kept is read again."""
    looks = columns.take(list(planned.files), at=None, follow=True)
    if looks is None or columns.young(looks, since):
        return  # edited so recently that an edit of the same size might be missed
    listings: list[tuple[bytes, str]] = []
    for folder in planned.folders:
        place = os.path.join(workspace.root, folder)
        own = _own(place)
        listings.append((b"" if columns.young(own, since) else own, columns.listing(place)))
    kept = (planned.files, looks, planned.folders, listings, pack(planned.plan), planned.shapes)
    body = marshal.dumps((_asked(words), *kept))
    state.keep(_place(workspace, words), _check(body) + body)


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
