"""Tree: the files of a revision, read from git objects as if they lay in a folder."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mlbuild.errors import InputError, Span
from mlbuild.git.objects import Objects
from mlbuild.graph.files import MAX_FILE, Kind, check_size

_LONGEST = 1 << 16  # bytes of the target of a symlink
_KINDS = {b"40000": "folder", b"120000": "link", b"160000": "module"}
_EMPTY: Mapping[str, "Entry"] = {}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name in a folder stands for."""

    kind: str  # "file", "program" (an executable file), "link", "folder" or "module" (submodule)
    id: str  # of the blob, the tree, or the commit of a submodule


ROOT = Entry("folder", "")


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that is not the same in two trees; None where it is absent."""

    path: str
    old: Entry | None
    new: Entry | None

    @property
    def edited(self) -> bool:
        """Say whether it is a file before and after, and only its content differs."""
        kinds = {"file", "program"}
        return (
            self.old is not None
            and self.new is not None
            and self.old.kind in kinds
            and self.new.kind in kinds
        )


class Trees:
    """Folders by the id of their tree; revisions share what is the same in both."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[str, Mapping[str, Entry]] = {"": _EMPTY}
        self._links: dict[str, str] = {}
        self._modules: dict[str, str] = {}

    def folder(self, id_: str) -> Mapping[str, Entry]:
        """Return the entries of a tree by name; "" is an empty one."""
        found = self._known.get(id_)
        if found is None:
            content = self._objects.read(id_).content
            found = self._known[id_] = dict(_parsed(content or b"", len(id_) // 2))
        return found

    def root(self, commit: str, prefix: str) -> str:
        """Return the id of the tree at the folder `prefix` of a commit or tree; "" for none."""
        if not commit:
            return ""
        id_ = self._objects.tree_of(commit) or commit
        for name in prefix.split("/") if prefix else ():
            entry = self.folder(id_).get(name)
            if entry is None or entry.kind != "folder":
                return ""
            id_ = entry.id
        return id_

    def of(self, entry: Entry | None) -> str:
        """Return the id of the tree that an entry is; "" where it is no folder.

        A submodule is one where its objects are on this machine.
        """
        if entry is None or entry.kind not in {"folder", "module"}:
            return ""
        if entry.kind == "folder":
            return entry.id
        known = self._modules.get(entry.id)
        if known is None:
            known = self._modules[entry.id] = self._objects.tree_of(entry.id)
        return known

    def file(self, id_: str, *, shown: str, span: Span | None = None) -> bytes:
        """Return the bytes of a blob; raise InputError where there are too many."""
        found = self._objects.read(id_, most=MAX_FILE)
        if found.content is None:
            check_size(found.size, shown=shown, span=span)
        return found.content or b""

    def target(self, id_: str) -> str:
        """Return where the symlink whose blob this is leads."""
        known = self._links.get(id_)
        if known is None:
            content = self._objects.read(id_, most=_LONGEST).content
            known = self._links[id_] = os.fsdecode(content or b"")
        return known

    def differences(self, old: str, new: str, *, below: str = "") -> Iterator[Difference]:
        """Yield what differs between two trees: files, links and submodules, no folders."""
        if old == new:
            return
        before, after = self.folder(old), self.folder(new)
        for name in {**before, **after}:
            one, other = before.get(name), after.get(name)
            if one == other:
                continue
            path = f"{below}/{name}" if below else name
            folders = [
                entry.id if entry is not None and entry.kind == "folder" else ""
                for entry in (one, other)
            ]
            one, other = (
                None if entry is None or entry.kind == "folder" else entry for entry in (one, other)
            )
            if one is not None or other is not None:
                yield Difference(path, one, other)
            yield from self.differences(*folders, below=path)


def _parsed(content: bytes, width: int) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of a tree object, whose ids have `width` bytes."""
    at = 0
    while at < len(content):
        space = content.index(b" ", at)
        end = content.index(b"\0", space)
        mode = content[at:space].lstrip(b"0")
        kind = _KINDS.get(mode) or ("program" if int(mode, 8) & 0o100 else "file")
        yield (
            os.fsdecode(content[space + 1 : end]),
            Entry(kind, content[end + 1 : end + 1 + width].hex()),
        )
        at = end + 1 + width


class TreeFiles:
    """The files of a workspace in one revision.

    `root` is the id of its tree. `elsewhere` says what a source is that no commit holds, such as
    data that is kept out of git; `missing` are those that somebody asked for.
    """

    def __init__(self, trees: Trees, root: str, *, elsewhere: Callable[[str], Kind | None]) -> None:
        self._trees = trees
        self._root = root
        self._elsewhere = elsewhere
        self._known: dict[str, str | None] = {"": ""}
        self._ids: dict[str, str] = {"": root}  # of folders, by real path
        self.missing: dict[str, Kind] = {}

    def read(self, path: str, *, span: Span | None = None) -> bytes:
        """Return the bytes of a BUILD.ml or .bzl file; raise InputError for no regular file."""
        entry = self.entry(path)
        if entry is None:
            raise InputError(f"cannot read `{path}`: No such file or directory", span=span)
        if entry.kind not in {"file", "program"}:
            raise InputError(f"`{path}` is not a regular file", span=span)
        return self._trees.file(entry.id, shown=path, span=span)

    def text(self, path: str) -> str:
        """Return the text of a BUILD.ml or .bzl file, "" where there is none."""
        try:
            return self.read(path).decode("utf-8", "replace").replace("\r\n", "\n")
        except InputError:
            return ""

    def exists(self, path: str) -> bool:
        """Say whether there is anything at `path`, be it a link to nothing."""
        folder, _, name = path.rpartition("/")
        return name in self._folder(folder)

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder at `path`, or a link to one."""
        entry = self.entry(path)
        return entry is not None and entry.kind in {"folder", "module"}

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """Return what is in a folder, and whether it is a folder itself; nothing for no folder."""
        found = self._folder(folder)
        return [(name, entry.kind in {"folder", "module"}) for name, entry in found.items()]

    def elsewhere(self, path: str) -> Kind | None:
        """Return what a source is that is not here but somewhere else; None where it is nowhere."""
        found = self._elsewhere(path)
        if found is None and self.module(path) is not None:
            found = "file"
        if found is not None:
            self.missing[path] = found
        return found

    def entry(self, path: str) -> Entry | None:
        """Return what `path` stands for, links followed; None for nothing, or out of here."""
        real = self.real(path)
        if real is None:
            return None
        if not real:
            return Entry("folder", self._root)
        folder, _, name = real.rpartition("/")
        return self._at(folder).get(name)

    def module(self, path: str) -> Entry | None:
        """Return the submodule that `path` lies in."""
        while path:
            entry = self.entry(path)
            if entry is not None:
                return entry if entry.kind == "module" else None
            path = path.rpartition("/")[0]
        return None

    def real(self, path: str) -> str | None:
        """Return the path without links that `path` leads to; None for nothing, or out of here."""
        if path in self._known:
            return self._known[path]
        self._known[path] = None  # which is what a link to itself leads to
        above, _, name = path.rpartition("/")
        home = self.real(above)
        if home is None:
            return None
        entry = self._at(home).get(name)
        real = f"{home}/{name}" if home else name
        if entry is None:
            return None
        found = self._led(home, self._trees.target(entry.id)) if entry.kind == "link" else real
        self._known[path] = found
        return found

    def content(self, path: str) -> str:
        """Return what stands for the bytes of a source: equal texts are equal contents."""
        if path.startswith("@rules/"):
            return "rules"  # they come with mlbuild, whatever the revision
        entry = self.entry(path) or self.module(path)
        return f"{entry.kind} {entry.id}" if entry is not None else "absent"

    def _folder(self, path: str) -> Mapping[str, Entry]:
        """Return the entries of the folder at `path`, links followed; none for no folder."""
        real = self.real(path)
        return _EMPTY if real is None else self._at(real)

    def _at(self, real: str) -> Mapping[str, Entry]:
        """Return the entries of the folder at a path without links; none for no folder."""
        id_ = self._ids.get(real)
        if id_ is None:
            above, _, name = real.rpartition("/")
            entry = self._at(above).get(name)
            id_ = self._ids[real] = self._trees.of(entry)
        return self._trees.folder(id_)

    def _led(self, home: str, target: str) -> str | None:
        """Return where a link in the folder `home` leads."""
        if not target or target.startswith("/"):
            return None
        here: str | None = home
        for part in target.split("/"):
            if here is None or (part == ".." and not here):
                return None
            if part == "..":
                here = here.rpartition("/")[0]
            elif part not in {"", "."}:
                here = self.real(f"{here}/{part}" if here else part)
        return here
