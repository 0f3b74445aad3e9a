"""Footing: the places on disk that an answer rests on, and the folders that tell of changes there.

All paths are absolute.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlbuild.columns import SKIPPED
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.invocation import Basis
from mlbuild.workspace import LOCAL, MARKER, Workspace

MOST = 5_000  # folders that are looked at while it is not known which ones matter
HOPS = 16  # links that are followed from one to the next
ENVIRONMENT = "pyvenv.cfg"  # marks a virtual environment


@dataclass(frozen=True, slots=True)
class Footing:
    """Where a change may matter."""

    root: str  # of the workspace
    files: frozenset[str] = frozenset()  # they may be absent
    listings: frozenset[str] = frozenset()  # folders whose names matter
    trees: frozenset[str] = frozenset()  # folders in which everything matters
    whole: bool = False  # whether anything in a folder of this may matter

    def folders(self) -> dict[str, bool]:
        """Return the folders that exist and tell of changes, and whether all in them matters.

        Those above are among them, up to the workspace's: one of them may be moved away.
        """
        found = dict.fromkeys(self.listings, self.whole)
        for folder in {os.path.dirname(file) for file in self.files}:
            found.setdefault(folder, self.whole)
        for tree in self.trees:
            found |= dict.fromkeys((folder for folder, _, _ in walk(tree)), True)
        for folder in list(found):
            for above in self._above(folder):
                found.setdefault(above, self.whole)
        found.setdefault(self.root, self.whole)
        return {folder: whole for folder, whole in found.items() if os.path.isdir(folder)}

    def beyond(self, other: "Footing") -> "Footing":
        """Return the part of this that is not in `other`."""
        return Footing(
            self.root,
            self.files - other.files,
            self.listings - other.listings,
            self.trees - other.trees,
        )

    def _above(self, folder: str) -> Iterator[str]:
        """Yield the folders above one of the workspace."""
        while folder.startswith(self.root.rstrip("/") + "/"):
            folder = os.path.dirname(folder)
            yield folder


def footing_of(basis: Basis, workspace: Workspace, settings: Iterable[str]) -> Footing:
    """Return what an answer with this basis rests on; `settings` are the files of settings."""
    root, rules = workspace.root, workspace.rules_root()
    planned = basis.planned
    files, trees = {*settings, *planned.files}, set()
    for path, kind in planned.plan.sources.items():
        if path.startswith("@rules/"):
            files.add(os.path.join(rules, path.removeprefix("@rules/")))
        elif kind == "tree":
            trees.add(os.path.join(root, path))
        else:
            files.add(os.path.join(root, path))
    listings = {os.path.join(root, folder) if folder else root for folder in planned.folders}
    return Footing(root, _with_hops(files), frozenset(listings), frozenset(trees))


def footing_of_error(before: Footing) -> Footing:
    """Return where the cure of an error may appear: where the last answer stood, and everywhere.

    Folders that nothing is read from, such as virtual environments, are left out.
    """
    files, listings = set(before.files), set(before.listings)
    for folder, names, _ in walk(before.root, careless=False):
        listings.add(folder)
        files.update(os.path.join(folder, name) for name in names)
        if len(listings) >= MOST:
            break
    return Footing(before.root, frozenset(files), frozenset(listings), before.trees, whole=True)


def is_read(path: str) -> bool:
    """Say whether a file is one that mlbuild itself reads, by its name."""
    return os.path.basename(path) in {BUILD_FILE, MARKER, LOCAL} or path.endswith(".bzl")


def walk(top: str, *, careless: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder from `top` down, with the names of files and those of folders in it.

    Unless `careless`, hidden folders, virtual environments and workspaces below are left out.
    """
    pending = deque([top])
    while pending:
        here = pending.popleft()
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(here) as entries:
                for one in entries:
                    if one.name not in SKIPPED:
                        (folders if one.is_dir(follow_symlinks=False) else files).append(one.name)
        except OSError:
            continue
        if not careless:
            if here != top and (ENVIRONMENT in files or MARKER in files):
                continue
            folders = [name for name in folders if not name.startswith(".")]
        yield here, files, folders
        pending += [f"{here}/{name}" for name in folders]


def _with_hops(files: Iterable[str]) -> frozenset[str]:
    """Return `files` with all that they lead to, where they or folders above them are links."""
    found: set[str] = set()
    real: dict[str, str] = {}  # folder -> itself without links
    for file in files:
        path = file
        for _ in range(HOPS):
            folder, _, name = path.rpartition("/")
            if folder not in real:
                real[folder] = os.path.realpath(folder)
            path = f"{real[folder]}/{name}"
            found |= {file, path}
            try:
                path = os.path.normpath(os.path.join(real[folder], os.readlink(path)))
            except OSError:
                break
    return frozenset(found)
