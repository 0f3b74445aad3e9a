"""Ingest: what an ended action left in its output folder becomes a tree of the store.

Nothing is copied but small files into cas: the folder itself is renamed. Links are never followed;
everything is reached through descriptors of open folders. What would not mean the same to whoever
gets the tree (set-user-id bits, times, owners, hard links) is dropped or refused.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlbuild.core.action import Output
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Content
from mlbuild.core.tree import MAX_DEPTH, Entry, Kind, Tree, digest_tree, escapes, tree_of
from mlbuild.errors import ActionError, InputError, did_you_mean
from mlbuild.store import files
from mlbuild.store.blobs import Blobs
from mlbuild.store.links import stray_link
from mlbuild.store.trees import seal_open

UNDECLARED = 1000  # paths listed at most
_STRANGE = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Ingested:
    """What an action made."""

    tree: Digest  # of all declared outputs together
    contents: tuple[tuple[str, Content], ...]  # path and content of each output, in given order
    undeclared: tuple[str, ...]  # what else it wrote, sorted; the first 1,000 of it; now removed


@dataclass(slots=True)
class Found:
    """What a walk through an output folder has seen so far."""

    entries: list[Entry] = field(default_factory=list)
    large: list[tuple[Entry, Digest]] = field(default_factory=list)  # will be linked with blobs
    undeclared: list[str] = field(default_factory=list)
    links: dict[tuple[int, int], list[str]] = field(default_factory=dict)  # paths by inode


def collect(out: str, outputs: Sequence[Output], *, blobs: Blobs) -> Found:
    """Read what lies in `out`: seal, hash and note what is declared, remove the rest.

    Small files are put into `blobs`. Raises ActionError for what cannot be an output.
    """
    walk = _Walk(outputs, blobs)
    walk.folder(out, "", at=None, whole=False)
    found = walk.found
    for paths in found.links.values():
        _seal_linked(out, paths)
    found.undeclared.sort()
    return found


def _seal_linked(out: str, paths: list[str]) -> None:
    """Seal one inode with several names, once it is sure that all of them are outputs."""
    fd = os.open(f"{out}/{paths[0]}", files.READ)
    try:
        now = os.fstat(fd)
        if now.st_nlink != len(paths):
            raise ActionError(
                f"output `{paths[0]}` is a hard link to a file outside the output folder",
                hints=("copy the file instead of linking it",),
            )
        seal_open(fd, executable=bool(now.st_mode & 0o111))
    finally:
        os.close(fd)


class _Walk:
    """One walk through an output folder."""

    def __init__(self, outputs: Sequence[Output], blobs: Blobs) -> None:
        self.found = Found()
        self._blobs = blobs
        self._kinds = {output.path: output.kind for output in outputs}
        self._parents = set()
        for path in self._kinds:
            while path := path.rpartition("/")[0]:
                self._parents.add(path)

    def folder(self, name: str, path: str, *, at: int | None, whole: bool) -> None:
        """Walk through the folder `name` in `at`; in a tree output everything is `whole`ly kept."""
        if path.count("/") >= MAX_DEPTH - 1:
            raise ActionError(f"output `{path[:200]}…` lies in more than {MAX_DEPTH} folders")
        try:
            fd = files.open_folder(name, at=at)
        except OSError as error:
            raise _unreadable(path or name, error) from error
        try:
            names = os.listdir(fd)
            if whole and not names:
                self.found.entries.append(Entry(path, Kind.EMPTY))
            for inner in names:
                self._one(fd, inner, f"{path}/{inner}" if path else inner, whole=whole)
        finally:
            os.close(fd)

    def _one(self, fd: int, name: str, path: str, *, whole: bool) -> None:
        """Keep, enter or remove what lies at `path`."""
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        kind = None if whole else self._kinds.get(path)
        if stat.S_ISDIR(mode):
            if kind == "file":
                raise ActionError(
                    f"output `{path}` is declared as a file, but the action made a folder"
                )
            if whole or kind == "tree" or path in self._parents:
                self.folder(name, path, at=fd, whole=whole or kind == "tree")
            else:
                self._refuse(fd, name, path)
        elif not whole and kind is None:
            self._list(path)
            os.unlink(name, dir_fd=fd)
        elif kind == "tree":
            raise ActionError(f"output `{path}` is declared as a tree, but is no folder")
        elif stat.S_ISREG(mode):
            self._file(fd, name, path)
        elif stat.S_ISLNK(mode):
            if not whole:
                raise ActionError(
                    f"output `{path}` is a symlink; only a tree output may hold symlinks",
                    hints=("copy the file, or declare the folder as a tree output",),
                )
            target = os.readlink(name, dir_fd=fd)
            os.utime(name, ns=(files.MOMENT, files.MOMENT), dir_fd=fd, follow_symlinks=False)
            self.found.entries.append(Entry(path, Kind.SYMLINK, target=target))
        else:
            raise ActionError(
                f"output `{path}` is {_STRANGE.get(stat.S_IFMT(mode), 'no regular file')}"
            )

    def _file(self, fd: int, name: str, path: str) -> None:
        """Seal and hash a regular file."""
        try:
            opened = _open_file(fd, name)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            was = os.fstat(opened)
            executable = bool(was.st_mode & 0o111)
            if was.st_size < files.SHARED:
                content = files.read_open(opened, was.st_size)
                digest = digest_of(content)
                self._blobs.put_known(content, digest)
            else:
                digest = files.hash_open(opened, was.st_size)
            now = os.fstat(opened)
            if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (
                digest.size,
                was.st_mtime_ns,
                was.st_ctime_ns,
            ):
                raise ActionError(f"output `{path}` changed while it was read")
            if was.st_nlink == 1:
                seal_open(opened, executable=executable)
            else:  # what has other names elsewhere must not be touched
                inode = (was.st_dev, was.st_ino)
                self.found.links.setdefault(inode, []).append(path)
        finally:
            os.close(opened)
        entry = Entry(path, Kind.EXECUTABLE if executable else Kind.FILE, digest)
        self.found.entries.append(entry)
        if was.st_size >= files.SHARED:
            self.found.large.append((entry, digest))

    def _refuse(self, fd: int, name: str, path: str) -> None:
        """List and remove an undeclared folder."""
        self._list_below(fd, name, path)
        files.remove_at(fd, name)

    def _list_below(self, fd: int, name: str, path: str) -> None:
        if len(self.found.undeclared) >= UNDECLARED or path.count("/") >= MAX_DEPTH:
            self._list(path + "/")
            return
        inner = files.open_folder(name, at=fd)
        try:
            for below in os.listdir(inner):
                it = os.stat(below, dir_fd=inner, follow_symlinks=False)
                if stat.S_ISDIR(it.st_mode):
                    self._list_below(inner, below, f"{path}/{below}")
                else:
                    self._list(f"{path}/{below}")
        finally:
            os.close(inner)

    def _list(self, path: str) -> None:
        if len(self.found.undeclared) < UNDECLARED:
            self.found.undeclared.append(path)


def seal_files(folder: str, tree: Tree, *, blobs: Blobs) -> None:
    """Seal the files of `tree`, whose bytes in `folder` are right, and put them into cas."""
    for entry, digest in tree.files():
        path, executable = f"{folder}/{entry.path}", entry.kind is Kind.EXECUTABLE
        fd = os.open(path, files.READ)
        try:
            if digest.size < files.SHARED:
                blobs.put_known(files.read_open(fd, digest.size), digest)
            seal_open(fd, executable=executable)
        finally:
            os.close(fd)
        if digest.size >= files.SHARED:
            blobs.adopt(path, digest, executable=executable)


def _open_file(fd: int, name: str) -> int:
    """Open a regular file that its own mode may forbid to read."""
    try:
        return os.open(name, files.READ, dir_fd=fd)
    except PermissionError:
        os.chmod(name, 0o600, dir_fd=fd)
        return os.open(name, files.READ, dir_fd=fd)


def _unreadable(path: str, error: OSError) -> ActionError:
    return ActionError(f"output `{path}` cannot be read: {os.strerror(error.errno or 0)}")


def tree_of_outputs(found: Found, outputs: Sequence[Output]) -> Tree:
    """Return the Tree of what was collected; raise ActionError for what is missing or unsafe."""
    made = {entry.path for entry in found.entries}
    for output in outputs:
        if output.path in made or (
            output.kind == "tree" and any(path.startswith(output.path + "/") for path in made)
        ):
            continue
        raise _missing(output, found.undeclared)
    trees = [output.path + "/" for output in outputs if output.kind == "tree"]
    for entry in found.entries:
        if entry.kind is Kind.SYMLINK:
            _check_link(entry, trees)
    try:
        return tree_of(found.entries)
    except InputError as error:
        raise ActionError(f"the outputs cannot be kept: {error.message}") from error


def _missing(output: Output, undeclared: list[str]) -> ActionError:
    """Say that an output was not made, and what was made instead."""
    last = output.path.rpartition("/")[2]
    same = [path for path in undeclared if path.rpartition("/")[2] == last]
    hints = (f"did you mean `{same[0]}`?",) if same else did_you_mean(output.path, undeclared)
    wrote = f"it wrote `{'`, `'.join(undeclared[:5])}`" if undeclared else "it wrote nothing else"
    return ActionError(
        f"the action ended well but did not make its output `{output.path}`",
        hints=hints,
        notes=(wrote + (f" and {len(undeclared) - 5} more" if len(undeclared) > 5 else ""),),  # noqa: PLR2004
    )


def _check_link(entry: Entry, trees: list[str]) -> None:
    """Refuse a symlink whose text leaves its tree output."""
    for prefix in trees:
        if entry.path.startswith(prefix) and not escapes(
            entry.path.removeprefix(prefix), entry.target
        ):
            return
    raise ActionError(
        f"output `{entry.path}` is a symlink that points out of its tree: {entry.target!r}",
        hints=("copy what it points to, or link by a relative path within the tree",),
    )


def contents(tree: Tree, outputs: Sequence[Output]) -> tuple[tuple[str, Content], ...]:
    """Return the content of each output; raise ActionError when a symlink leads out of its tree."""
    by_path = {entry.path: entry for entry in tree.entries}
    found = []
    for output in outputs:
        entry = by_path.get(output.path)
        if output.kind == "tree":
            below = _below(tree, output.path)
            stray = stray_link(below.entries)
            if stray is not None:
                raise ActionError(f"output `{output.path}/{stray}` leads out of its tree")
            found.append((output.path, Content("t", digest_tree(below))))
        elif entry is None or entry.digest is None:
            raise ActionError(f"output `{output.path}` is no regular file")
        else:
            found.append((output.path, Content(entry.kind.value, entry.digest)))
    return tuple(found)


def _below(tree: Tree, path: str) -> Tree:
    """Return what `tree` has at the folder `path`."""
    prefix = path + "/"
    return tree_of(
        Entry(entry.path.removeprefix(prefix), entry.kind, entry.digest, entry.target)
        for entry in tree.entries
        if entry.path.startswith(prefix)
    )
