"""Kept: the query graph of a workspace, as far as it has been read, between two commands.

A package is forgotten as soon as a file that it was read from looks different, or a folder whose
listing mattered; the others stay. What is lost is read again.
"""

import marshal
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlbuild import __version__, columns, state
from mlbuild.core.digest import digest_of
from mlbuild.errors import HostError
from mlbuild.query.record import BUILD_FILE, RULES, Record, name_of, package_of, path_of
from mlbuild.workspace import STATE, Workspace

_CHECK = 64  # bytes of its digest
_FORM = 1  # of the file
Walk = tuple[tuple[str, ...], tuple[str, ...]]  # packages, and the folders that were looked at
_Listing = tuple[bytes, str]  # stamp of a folder, and the digest of its listing


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a workspace. The parts grow while a query reads."""

    records: dict[str, Record] = field(default_factory=dict)  # by package
    sources: set[str] = field(default_factory=set)  # labels of source files and folders that exist
    walks: dict[str, Walk] = field(default_factory=dict)  # by the folder that they began at
    library: set[str] = field(default_factory=set)  # absolute paths of files of the rule library


def recall(workspace: Workspace) -> tuple[Kept, bool]:
    """Return what is known and still right, and whether that is all that was kept."""
    try:
        with open(_place(workspace), "rb") as file:
            content = file.read()
        if content[:_CHECK] != _check(content[_CHECK:]):
            return Kept(), False
        asked, *parts = marshal.loads(content[_CHECK:])  # noqa: S302 - ours
        if asked != _asked(workspace):
            return Kept(), False
        return _checked(workspace, parts)
    except (OSError, ValueError, EOFError, TypeError):
        return Kept(), False


def _checked(workspace: Workspace, parts: Sequence[Any]) -> tuple[Kept, bool]:
    """Return the parts of a kept graph that nothing has changed under."""
    library, packed, sources, walks, files, looks, listings, stamps = parts
    changed = _changed(files, looks)
    if not changed.isdisjoint(library):
        return Kept(), False
    moved, renewed = _moved(workspace, listings)
    records = {one[0]: Record(*one) for one in packed}
    if changed or moved:
        records = {
            path: one
            for path, one in records.items()
            if changed.isdisjoint(_files(workspace, one)) and moved.isdisjoint(one.folders)
        }
    known = _present(workspace, sources, stamps)
    if len(records) < len(packed):
        known = {one for one in known if one.startswith(RULES) or package_of(one) in records}
    walked = {path: walk for path, walk in walks.items() if moved.isdisjoint(walk[1])}
    whole = (len(records), len(known), len(walked)) == (len(packed), len(sources), len(walks))
    return Kept(records, known, walked, set(library)), whole and not renewed


def keep(workspace: Workspace, kept: Kept, *, since: int) -> None:
    """Keep what was read since `since` (ns); what is too young to be trusted is read again."""
    records = list(kept.records.values())
    files = sorted(
        {*kept.library, *(one for record in records for one in _files(workspace, record))}
    )
    young = set(_young(files, since))
    if not young.isdisjoint(kept.library):
        return
    if young:
        records = [one for one in records if young.isdisjoint(_files(workspace, one))]
        files = [one for one in files if one not in young]
    looks = columns.take(files, at=None, follow=True)
    if looks is None or not _writable(workspace):
        return
    paths = {one.path for one in records}
    sources = sorted(
        one for one in kept.sources if one.startswith(RULES) or package_of(one) in paths
    )
    folders = {folder for one in records for folder in one.folders}
    folders.update(folder for _, walk in kept.walks.values() for folder in walk)
    listings = {folder: _listing(workspace, folder, since) for folder in folders}
    stamps = {
        folder: _settled(os.path.join(workspace.root, folder), since)
        for folder in {one for label in sources for one in _above(label)}
    }
    parts = (sorted(kept.library), [one.plain() for one in records], sources, kept.walks)
    body = marshal.dumps((_asked(workspace), *parts, files, looks, listings, stamps))
    state.keep(_place(workspace), _check(body) + body)


def _writable(workspace: Workspace) -> bool:
    """Say whether the workspace has a folder for what is kept; in one for reading it has none."""
    try:
        return os.path.isdir(workspace.state)
    except HostError:
        return False


def _files(workspace: Workspace, record: Record) -> Iterator[str]:
    """Yield the absolute paths of the files that a package was read from."""
    root = workspace.root
    yield os.path.join(root, record.path, BUILD_FILE)
    for name in record.loads:
        if name.startswith(RULES):
            yield os.path.join(workspace.rules_root(), name_of(name))
        else:
            yield os.path.join(root, name)


def _changed(files: list[str], looks: bytes) -> set[str]:
    """Return those of `files` that do not look as they did."""
    now = columns.take(files, at=None, follow=True)
    if now == looks:
        return set()
    width = columns.WIDTH
    return {
        file
        for number, file in enumerate(files)
        if columns.take([file], at=None, follow=True)
        != looks[number * width : (number + 1) * width]
    }


def _moved(workspace: Workspace, listings: dict[str, _Listing]) -> tuple[set[str], bool]:
    """Return the folders whose listing has changed, and whether a stamp could be renewed."""
    moved: set[str] = set()
    renewed = False
    for folder, (own, digest) in listings.items():
        place = os.path.join(workspace.root, folder)
        now = _own(place)
        if not own or now != own:
            renewed = renewed or bool(now)
            if _digest(place) != digest:
                moved.add(folder)
    return moved, renewed


def _present(workspace: Workspace, sources: list[str], stamps: dict[str, bytes]) -> set[str]:
    """Return those of `sources` that are still there, and in the same package."""
    moved = {
        folder
        for folder, own in stamps.items()
        if not own or _own(os.path.join(workspace.root, folder)) != own
    }
    if not moved:
        return set(sources)
    return {
        one
        for one in sources
        if moved.isdisjoint(_above(one)) or one.startswith(RULES) or _is_there(workspace, one)
    }


def _is_there(workspace: Workspace, label: str) -> bool:
    """Say whether a source exists, and no package lies between it and its own."""
    between = list(_above(label))[1:]
    return os.path.lexists(os.path.join(workspace.root, path_of(label))) and not any(
        os.path.lexists(os.path.join(workspace.root, folder, BUILD_FILE)) for folder in between
    )


def _above(label: str) -> Iterator[str]:
    """Yield the folders from the package of a source down to the one that holds it."""
    if label.startswith(RULES):
        return
    folder = package_of(label)
    yield folder
    for part in name_of(label).split("/")[:-1]:
        folder = f"{folder}/{part}" if folder else part
        yield folder


def _young(files: Iterable[str], since: int) -> Iterator[str]:
    """Yield the files that are gone, or so young that an edit might not show."""
    for file in files:
        look = columns.take([file], at=None, follow=True)
        if look is None or columns.young(look, since):
            yield file


def _listing(workspace: Workspace, folder: str, since: int) -> _Listing:
    place = os.path.join(workspace.root, folder)
    return _settled(place, since), _digest(place)


def _digest(place: str) -> str:
    return digest_of(columns.listing(place).encode("utf-8", "surrogateescape")).hash


def _settled(place: str, since: int) -> bytes:
    """Return the stamp of a folder; nothing where it is too young to tell a change."""
    own = _own(place)
    return b"" if columns.young(own, since) else own


def _own(place: str) -> bytes:
    """Return the stamp of a folder; nothing where there is none."""
    try:
        return columns.stamp(os.stat(place))
    except OSError:
        return b""


def _check(body: bytes) -> bytes:
    """Return what must stand before `body`: damage must not pass for a graph."""
    return digest_of(body).hash.encode()


def _asked(workspace: Workspace) -> tuple[Any, ...]:
    return _FORM, __version__, sys.version, workspace.root, workspace.rules_root()


def _place(workspace: Workspace) -> str:
    return os.path.join(workspace.root, STATE, "query", "graph")
