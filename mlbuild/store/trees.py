"""Trees: immutable directories on disk, `trees/ab/<digest>/` with a sidecar of stamps beside it.

Files are 0444 or 0555, folders 0555, all times are one moment: neither a mode nor a time reaches
who reads them. A tree is complete when its sidecar is there. It is used after a comparison of
stamps; what looks different is hashed; what is wrong goes to the quarantine and is made anew
from blobs, or else the tree is absent and its user's hit becomes a miss.
"""

import errno
import os
import stat
from collections.abc import Iterable, Mapping

from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.tree import Entry, Kind, Tree, decode, encode, encoded
from mlbuild.errors import InputError
from mlbuild.store import files
from mlbuild.store.blobs import Blobs, is_stamped
from mlbuild.store.gate import Gate
from mlbuild.store.links import stray_link
from mlbuild.store.private import Private
from mlbuild.store.sidecar import SUFFIX, Sidecar, pack, take_columns, unpack, untouched

_MOMENTS = (files.MOMENT, files.MOMENT)
_NOWHERE: Mapping[Entry, str] = {}
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


class Trees:
    """The materialised trees below `root`."""

    def __init__(self, root: str, private: Private, blobs: Blobs, *, gate: Gate) -> None:
        self._root = root
        self._private = private
        self._blobs = blobs
        self._gate = gate

    def path(self, digest: Digest) -> str:
        """Return where the tree lies when it is here."""
        return f"{self._root}/trees/{digest.hash[:2]}/{digest.hash}"

    def has(self, digest: Digest) -> bool:
        """Say whether the tree is here, or all that it can be made from; reads no file's bytes."""
        path = self.path(digest)
        if os.path.isdir(path) and os.path.isfile(path + SUFFIX):
            return True
        tree = self.tree(digest)
        return tree is not None and all(self._blobs.has(blob) for _, blob in tree.files())

    def is_whole(self, digest: Digest) -> bool:
        """Say whether the materialised tree is here and, after a check, whole; it is to be used."""
        self._touch(digest)
        return self._intact(digest) is not None

    def encoded(self, digest: Digest) -> bytes | None:
        """Return the encoding of the tree, whose hash is its name."""
        sidecar = self._sidecar(digest)
        return sidecar.encoded if sidecar else self._blobs.read(digest)

    def tree(self, digest: Digest) -> Tree | None:
        """Return the listing of the tree; None when unknown or damaged."""
        content = self.encoded(digest)
        try:
            return None if content is None else decode(content)
        except InputError:  # the bytes are right, yet no tree
            return None

    def place(self, digest: Digest, path: str = "") -> str | None:
        """Return the absolute path of the tree, or of a file or folder in it, after a check.

        None when it is not here, or was damaged and cannot be healed.
        """
        self._touch(digest)
        sidecar = self._intact(digest)
        if sidecar is None:
            tree = self.tree(digest)
            if tree is None or not self._build(tree, encode(tree), digest):
                return None
            sidecar = self._sidecar(digest)
        if sidecar is None or (path and encoded(path) not in sidecar.paths):
            return None
        return f"{self.path(digest)}/{path}" if path else self.path(digest)

    def proven(self, digest: Digest) -> bool:
        """Say whether the tree is whole, trusting no stamp: every byte of it is read."""
        sidecar = self._sidecar(digest)
        if sidecar is None:
            return False
        tree, place = decode(sidecar.encoded), self.path(digest)
        return (
            _holds(place, tree, set()) and self._complete(place, tree, sidecar.encoded) is not None
        )

    def stamps(self, digest: Digest) -> list[tuple[str, int, int, int, int]]:
        """Return path, size, mtime_ns, ctime_ns and inode of each file and folder of the tree.

        They are as last checked; nothing when the tree is not here.
        """
        sidecar = self._sidecar(digest)
        if sidecar is None:
            return []
        place = os.fsencode(self.path(digest))
        numbers = memoryview(sidecar.columns).cast("q")
        return [
            (os.fsdecode(place + b"/" + path if path else place), *_four(numbers, at))
            for at, path in enumerate(sidecar.paths)
        ]

    def materialise(self, tree: Tree) -> Digest | None:
        """Make the tree from blobs unless it is here; None when some of its bytes are not here."""
        content = encode(tree)
        digest = digest_of(content)
        if not self.is_whole(digest) and not self._build(tree, content, digest):
            return None
        return digest

    def unite(self, tree: Tree, parts: Mapping[Digest, Tree]) -> Digest | None:
        """Make a tree of what is in others already; None when some of its bytes are not here.

        Small files are linked, not copied: trees share them with each other, never with cas. That
        changes how the others look, so whoever uses one of them next, but for `parts`, reads it.
        """
        content = encode(tree)
        digest = digest_of(content)
        if self.is_whole(digest):
            return digest
        near: dict[Entry, str] = {}
        used: list[tuple[str, Tree, bytes]] = []
        for part, listed in parts.items():
            place = self.place(part)
            if place is not None:
                near.update((entry, f"{place}/{entry.path}") for entry, _ in listed.files())
                used.append((place, listed, encode(listed)))
        made = self._build(tree, content, digest, near=near)
        for place, listed, encoding in used:
            self._complete(place, listed, encoding)
        return digest if made else None

    def adopt(self, folder: str, tree: Tree, *, content: bytes, digest: Digest) -> bool:
        """Make `folder`, which holds exactly `tree`, the place of that tree.

        Its files are sealed (`seal_open`), its large ones are blobs. When the tree is here
        already, `folder` is removed. False when somebody changed it meanwhile. `content` is the
        encoding of the tree and `digest` its name.
        """
        place = self.path(digest)
        _seal_folders(folder, tree)
        while True:
            try:
                with self._gate:  # else a collection might take it for what was there before
                    files.touch(place + SUFFIX)  # one whose tree is gone
                    os.rename(folder, place)
            except FileNotFoundError:  # the first of its shard
                os.lstat(folder)  # else this would go on for ever
                os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
                continue
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                self._touch(digest)
                if self._intact(digest, tree) is None:
                    continue  # what was there is in the quarantine now
                files.remove(folder)
                return True
            return self._complete(place, tree, content) is not None

    def _complete(self, place: str, tree: Tree, content: bytes) -> Sidecar | None:
        """Write the sidecar of the tree that lies, with the right bytes, at `place`."""
        try:
            fd = os.open(place, files.FOLDER)
        except OSError:
            return None
        try:
            with self._gate:  # this change of the folder keeps it until the sidecar does
                os.fchmod(fd, 0o555)
                os.utime(fd, ns=_MOMENTS)
                if not _is_open(place, fd):
                    return None
            paths = _stamped_paths(tree)
            columns = take_columns(fd, paths)
        finally:
            os.close(fd)
        if columns is None or not untouched(columns):
            return None
        sidecar = Sidecar(paths, columns, content)
        name = self._private.name()
        files.write_new(name, pack(sidecar), mode=0o600)
        self._private.settle(name, place + SUFFIX)
        return sidecar

    def _touch(self, digest: Digest) -> None:
        """Note that a tree is used, before it is looked at: perhaps no result names it yet."""
        self._gate.touch(self.path(digest) + SUFFIX)

    def _sidecar(self, digest: Digest) -> Sidecar | None:
        content = files.read_file(self.path(digest) + SUFFIX)
        return None if content is None else unpack(content, name=digest.hash)

    def _intact(self, digest: Digest, tree: Tree | None = None) -> Sidecar | None:
        """Return the sidecar of the tree once it is known to be whole.

        Without a readable sidecar it is compared with `tree`, if given, byte by byte. What is
        wrong goes to the quarantine.
        """
        place = self.path(digest)
        sidecar = self._sidecar(digest)
        if sidecar is None and tree is None:
            return None
        try:
            fd = os.open(place, files.FOLDER)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            self._private.quarantine(place)
            return None
        try:
            trusted: set[bytes] = set()
            if sidecar is not None:
                found = take_columns(fd, sidecar.paths)
                if found == sidecar.columns:
                    return sidecar
                if found is not None:
                    trusted = self._unchanged(place, sidecar, found)
                tree = decode(sidecar.encoded)
            assert tree is not None
            content = sidecar.encoded if sidecar else encode(tree)
            if _holds(place, tree, trusted) and (now := self._complete(place, tree, content)):
                return now
            self._private.quarantine(place, inode=os.fstat(fd).st_ino)
        finally:
            os.close(fd)
        return None

    def _unchanged(self, place: str, sidecar: Sidecar, found: bytes) -> set[bytes]:
        """Return the paths whose bytes need not be read again.

        A shared inode gets a new ctime with every link; then the blob's stamp knows it.
        """
        tree = decode(sidecar.encoded)
        shared = {
            encoded(entry.path): self._blobs.path(digest, executable=entry.kind is Kind.EXECUTABLE)
            for entry, digest in tree.files()
            if digest.size >= files.SHARED
        }
        trusted = set()
        for at, path in enumerate(sidecar.paths):
            part = slice(32 * at, 32 * at + 32)
            same = found[part] == sidecar.columns[part]
            if same or (path in shared and _is_blob(f"{place}/{os.fsdecode(path)}", shared[path])):
                trusted.add(path)
        return trusted

    def _build(
        self, tree: Tree, content: bytes, digest: Digest, *, near: Mapping[Entry, str] = _NOWHERE
    ) -> bool:
        """Make the tree from blobs, or links to `near` files; say whether all of them are here."""
        if stray_link(tree.entries) is not None:
            return False
        for _ in range(3):  # a blob may go, or a link to it come, while we look
            folder = self._private.scratch()
            try:
                if not self._fill(folder, tree, near):
                    return False
                if self.adopt(folder, tree, content=content, digest=digest):
                    return True
            finally:
                files.remove(folder)
        return False

    def _fill(self, folder: str, tree: Tree, near: Mapping[Entry, str]) -> bool:
        """Write the files and symlinks of `tree` into the empty `folder`."""
        for name in _folders(tree.entries):
            if name:
                os.mkdir(f"{folder}/{name}", 0o700)
        for entry in tree.entries:
            path = f"{folder}/{entry.path}"
            if entry.kind is Kind.SYMLINK:
                os.symlink(entry.target, path)
            elif entry in near and _linked(near[entry], path, entry):
                continue
            elif entry.digest is not None and not self._blobs.write_to(
                path, entry.digest, executable=entry.kind is Kind.EXECUTABLE
            ):
                return False
        return True


def _linked(place: str, path: str, entry: Entry) -> bool:
    """Put a link to a small file of another tree at `path`; say whether that could be done."""
    assert entry.digest is not None
    if entry.digest.size >= files.SHARED:
        return False  # its blob notes every link
    try:
        os.link(place, path, follow_symlinks=False)
    except OSError:  # gone, or has as many links as it may
        return False
    return True


def _four(numbers: memoryview, at: int) -> tuple[int, int, int, int]:
    size, mtime, ctime, inode = numbers[4 * at : 4 * at + 4]
    return size, mtime, ctime, inode


def _folders(entries: Iterable[Entry]) -> list[str]:
    """Return all folders of a tree, parents first, itself as ""."""
    found = {""}
    for entry in entries:
        if entry.kind is Kind.EMPTY:
            found.add(entry.path)
        parent = entry.path.rpartition("/")[0]
        while parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(found)


def _stamped_paths(tree: Tree) -> list[bytes]:
    """Return what has stamps: folders, then files."""
    paths = [encoded(path) for path in _folders(tree.entries)]
    paths.extend(encoded(entry.path) for entry, _ in tree.files())
    return paths


def seal_open(fd: int, *, executable: bool) -> None:
    """Give an open file of a tree its mode and its time."""
    os.fchmod(fd, 0o555 if executable else 0o444)
    os.utime(fd, ns=_MOMENTS)


def _seal_folders(place: str, tree: Tree) -> None:
    """Give all folders but the outermost, which has yet to be renamed, their mode and time."""
    for name in reversed(_folders(tree.entries)):
        if name:
            os.chmod(f"{place}/{name}", 0o555)  # noqa: S103 - nobody shall write
            os.utime(f"{place}/{name}", ns=_MOMENTS)


def _is_open(path: str, fd: int) -> bool:
    """Say whether what lies at `path` is what is open."""
    try:
        return os.lstat(path).st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _is_blob(path: str, blob: str) -> bool:
    """Say whether the file at `path` is one inode with `blob`, whose stamp is right."""
    try:
        found = os.lstat(path)
        return found.st_ino == os.lstat(blob).st_ino and is_stamped(blob, found)
    except OSError:
        return False


def _holds(place: str, tree: Tree, trusted: set[bytes]) -> bool:
    """Say whether `place` has exactly the entries and bytes of `tree`; restore modes and times.

    Files in `trusted` are not read.
    """
    children: dict[str, set[str]] = {name: set() for name in _folders(tree.entries)}
    for name in children:
        if name:
            parent, _, last = name.rpartition("/")
            children[parent].add(last)
    for entry in tree.entries:
        parent, _, last = entry.path.rpartition("/")
        children[parent].add(last)
    try:
        for name, names in children.items():
            folder = f"{place}/{name}" if name else place
            if os.path.islink(folder) or set(os.listdir(folder)) != names:
                return False
        if not all(_is_entry(f"{place}/{entry.path}", entry, trusted) for entry in tree.entries):
            return False
        _seal_folders(place, tree)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_entry(path: str, entry: Entry, trusted: set[bytes]) -> bool:
    """Say whether what lies at `path` is `entry`."""
    if entry.digest is None:
        return entry.kind is Kind.EMPTY or (
            os.path.islink(path) and os.readlink(path) == entry.target
        )
    if encoded(entry.path) in trusted:
        return True
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry.digest.size:
        return False
    mode = 0o555 if entry.kind is Kind.EXECUTABLE else 0o444
    if found.st_mtime_ns != files.MOMENT or stat.S_IMODE(found.st_mode) != mode:
        os.chmod(path, mode)
        os.utime(path, ns=_MOMENTS)
    return files.hash_path(path) == entry.digest
