"""StatIndex: digests of source files, kept as long as the files look the same to `stat`.

By folder: names, stamps, hashes and kinds of its entries, each as one run of bytes. A stamp is
trusted only when it is older than the moment of hashing by more than the file system's clock can
blur (git's racy rule). The file may be deleted at any time; a damaged one is discarded.
"""

import marshal
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mlbuild import columns
from mlbuild import state as states
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Content
from mlbuild.core.tree import MAGIC as TREE_MAGIC
from mlbuild.core.tree import MAX_DEPTH, escapes, file_record
from mlbuild.errors import InputError
from mlbuild.hashing import MANY, RECORD, hash_batches, hash_files
from mlbuild.progress import Progress

MAGIC = b"mlbuild stat index 1 "
WIDTH = columns.WIDTH
UNTRUSTED = bytes(WIDTH - 8)  # follows the size in a stamp that no file has
_STAMP = slice(1, 1 + WIDTH)  # of a record
_HASH = slice(1 + WIDTH, RECORD)
_SYMLINK, _SUBFOLDER, _EXECUTABLE = b"ldx"


@dataclass(slots=True)
class Folder:
    """What was seen in one folder below a tree."""

    own: bytes  # the folder's stamp
    names: list[str]  # sorted as bytes
    kinds: bytes  # one letter each: f and x for files, l for symlinks, d for folders
    stamps: bytes  # of all but folders
    hashes: bytes  # 32 each; zeros for what is no file

    def leaves(self) -> list[str]:
        """Return the names that have a stamp."""
        if b"d" not in self.kinds:
            return self.names
        return [
            name for name, kind in zip(self.names, self.kinds, strict=True) if kind != _SUBFOLDER
        ]

    def folders(self) -> list[str]:
        """Return the names of subfolders."""
        if b"d" not in self.kinds:
            return []
        return [
            name for name, kind in zip(self.names, self.kinds, strict=True) if kind == _SUBFOLDER
        ]


@dataclass(frozen=True, slots=True)
class Listed:
    """The names in a folder, as they are just now."""

    folder: str
    own: bytes  # the folder's stamp, taken before: who adds a name later changes it
    names: list[str]  # sorted as bytes
    others: dict[str, str]  # those that are no files: `l` or `d`


class StatIndex:
    """Digests of files below `root`, an absolute folder, kept in the file `place`."""

    def __init__(self, root: str, place: str) -> None:
        self._root = root
        self._place = place
        self._single: dict[str, bytes] = {}  # path -> record: kind, stamp, hash
        self._folders: dict[str, Folder] = {}
        self._trees: dict[str, tuple[str, int]] = {}  # folder -> digest of its Tree
        self._fresh: set[str] = set()  # what was hashed since `_since`
        self._since = time.time_ns()

    @classmethod
    def open(cls, root: str, *, state: str = "") -> "StatIndex":
        """Return the index kept in the file `state`, an empty one where it is absent or bad."""
        index = cls(root, state or os.path.join(root, ".mlbuild", "stat-index"))
        try:
            with open(index._place, "rb") as file:
                content = file.read()
            head, _, body = content.partition(b"\n")
            if head == MAGIC + digest_of(body).hash.encode():
                kept_root, single, folders, trees = marshal.loads(body)  # noqa: S302 - ours
                if kept_root == root:
                    index._single = single
                    index._folders = {path: Folder(*one) for path, one in folders.items()}
                    index._trees = trees
        except (OSError, ValueError, EOFError, TypeError):
            pass
        return index

    def save(self) -> None:
        """Keep the index; where that cannot be done, the next build hashes once more."""
        if not self._fresh:
            return
        single = {
            path: record
            for path, record in self._single.items()
            if path not in self._fresh or not columns.young(record[_STAMP], self._since)
        }
        folders = {path: self._packed(path, one) for path, one in self._folders.items()}
        body = marshal.dumps((self._root, single, folders, self._trees))
        states.keep(self._place, MAGIC + digest_of(body).hash.encode() + b"\n" + body)

    def _packed(self, path: str, one: Folder) -> tuple[bytes, list[str], bytes, bytes, bytes]:
        """Return a folder for keeping; a stamp that may hide a later write becomes one of none."""
        own, stamps = one.own, one.stamps
        if path in self._fresh:
            if columns.young(own, self._since):
                own = own[:8] + UNTRUSTED
            if columns.young(stamps, self._since):
                pieces = [stamps[at : at + WIDTH] for at in range(0, len(stamps), WIDTH)]
                stamps = b"".join(
                    piece[:8] + UNTRUSTED if columns.young(piece, self._since) else piece
                    for piece in pieces
                )
        return own, one.names, one.kinds, stamps, one.hashes

    def files(
        self, paths: Iterable[str], *, progress: Progress | None = None
    ) -> dict[str, Content]:
        """Return the contents of files, by path relative to the root."""
        by_folder: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            by_folder.setdefault(folder, []).append(name)
        found: dict[str, Content] = {}
        for folder, names in by_folder.items():
            self._in_folder(folder, names, found, progress)
        return found

    def _in_folder(
        self, folder: str, names: list[str], found: dict[str, Content], progress: Progress | None
    ) -> None:
        """Add the contents of files of one folder to `found`."""
        prefix = f"{folder}/" if folder else ""
        place = os.path.join(self._root, folder)
        looks = _looks(place, names)
        stale: list[str] = []
        for index, name in enumerate(names):
            record = self._single.get(prefix + name)
            look = looks[WIDTH * index : WIDTH * (index + 1)] if looks else b""
            if record is not None and record[_STAMP] == look:
                found[prefix + name] = _content(record)
            else:
                stale.append(name)
        if not stale:
            return
        self._check_inside(folder, stale)
        records = hash_files(place, stale, shown=folder, progress=progress)
        for name, record in zip(stale, records, strict=True):
            self._single[prefix + name] = record
            self._fresh.add(prefix + name)
            found[prefix + name] = _content(record)

    def _check_inside(self, folder: str, names: Iterable[str]) -> None:
        """Refuse symlinks that leave the workspace: nobody declared what they lead to."""
        root = os.path.realpath(self._root)
        place = os.path.join(root, folder)
        home = os.path.realpath(place)
        links = [name for name in names if os.path.islink(os.path.join(place, name))]
        for name, real in [
            ("", home),
            *((name, os.path.realpath(os.path.join(place, name))) for name in links),
        ]:
            if real != root and not real.startswith(root.rstrip("/") + "/"):
                raise InputError(
                    f"`{_below(folder, name)}` is a symlink out of the workspace",
                    hints=("copy what it leads to into the workspace",),
                )

    def stamp(self, path: str) -> bytes:
        """Return how a file looked when its digest was taken; nothing where none was."""
        return self._single.get(path, b"")[_STAMP]

    def changed(self, paths: Iterable[str]) -> list[str]:
        """Return those of `paths` that do not look as they did when their digest was taken."""
        return [path for path in paths if self._differs(path)]

    def _differs(self, path: str) -> bool:
        if path in self._trees:
            return self._moved(path)
        record = self._single.get(path)
        if record is None:
            return False
        return (
            columns.take([os.path.join(self._root, path)], at=None, follow=True) != record[_STAMP]
        )

    def tree(self, path: str, *, progress: Progress | None = None) -> Content:
        """Return the content of a folder: the Tree of everything below it.

        Symlinks stay symlinks; one that leaves the folder is refused.
        """
        if path not in self._trees or self._moved(path):
            self._check_inside(path, ())
            below = self._list(path)
            self._hash(below, progress)
            digest = self._encode(path, below)
            self._trees[path] = (digest.hash, digest.size)
        return Content("t", Digest(*self._trees[path]))

    def _moved(self, path: str) -> bool:
        """Say whether anything below a folder looks different from what is known."""
        pending = [path]
        while pending:
            here = pending.pop()
            known = self._folders.get(here)
            if known is None:
                return True
            try:
                at = columns.open_folder(os.path.join(self._root, here))
            except OSError:
                return True
            try:
                if (
                    columns.stamp(os.fstat(at)) != known.own
                    or columns.take(known.leaves(), at=at, follow=False) != known.stamps
                ):
                    return True
            finally:
                os.close(at)
            pending += [_below(here, name) for name in known.folders()]
        return False

    def folders_below(self, path: str) -> list[tuple[str, bytes, list[str], bytes]]:
        """Return path, own stamp, names and their stamps of each folder of a tree."""
        found: list[tuple[str, bytes, list[str], bytes]] = []
        pending = [path]
        while pending:
            here = pending.pop()
            known = self._folders[here]
            found.append((here, known.own, known.leaves(), known.stamps))
            pending += [_below(here, name) for name in known.folders()]
        return found

    def _list(self, path: str) -> list[Listed]:
        """Return every folder from `path` down."""
        found: list[Listed] = []
        pending = [(path, 0)]
        while pending:
            here, depth = pending.pop()
            if depth >= MAX_DEPTH:
                raise InputError(f"`{path}` is more than {MAX_DEPTH} folders deep")
            place = os.path.join(self._root, here)
            others: dict[str, str] = {}
            names: list[str] = []
            try:
                own = columns.stamp(os.stat(place))
                with os.scandir(place) as entries:
                    for entry in entries:
                        if entry.name in columns.SKIPPED:
                            continue
                        names.append(entry.name)
                        if entry.is_symlink():
                            others[entry.name] = "l"
                        elif entry.is_dir(follow_symlinks=False):
                            others[entry.name] = "d"
                            pending.append((_below(here, entry.name), depth + 1))
            except FileNotFoundError as error:
                raise InputError(f"there is no folder `{here}`") from error
            except OSError as error:
                raise InputError(f"cannot read the folder `{here}`: {error.strerror}") from error
            names.sort(key=os.fsencode)
            found.append(Listed(here, own, names, others))
        return found

    def _hash(self, below: list[Listed], progress: Progress | None) -> None:
        """Bring the index up to date with the folders that were listed."""
        kept = [self._still(listed.folder) for listed in below]
        stale = [
            (
                os.path.join(self._root, listed.folder),
                [
                    name
                    for name in listed.names
                    if name not in listed.others and name not in records
                ],
            )
            for listed, records in zip(below, kept, strict=True)
        ]
        if sum(len(names) for _, names in stale) >= MANY:
            fresh = hash_batches(stale, progress=progress)
        else:
            fresh = [
                hash_files(place, new, shown=listed.folder, progress=progress) if new else []
                for (place, new), listed in zip(stale, below, strict=True)
            ]
        for listed, records, (_, new), hashed in zip(below, kept, stale, fresh, strict=True):
            records.update(zip(new, hashed, strict=True))
            self._folders[listed.folder] = self._folder(listed, records)
            self._fresh.add(listed.folder)

    def _still(self, here: str) -> dict[str, bytes]:
        """Return the records of the files in a folder that look as they did."""
        known = self._folders.get(here)
        if known is None:
            return {}
        base = os.path.join(self._root, here)
        leaves = known.leaves()
        looks = _looks(base, leaves, follow=False)
        kept: dict[str, bytes] = {}
        at = 0
        for index, name in enumerate(known.names):
            kind = known.kinds[index]
            if kind == _SUBFOLDER:
                continue
            old, at = known.stamps[at : at + WIDTH], at + WIDTH
            look = (
                looks[at - WIDTH : at]
                if looks
                else columns.take([f"{base}/{name}"], at=None, follow=False)
            )
            if kind != _SYMLINK and look == old:
                kept[name] = b"%c%b%b" % (kind, old, known.hashes[32 * index : 32 * index + 32])
        return kept

    def _folder(self, listed: Listed, records: dict[str, bytes]) -> Folder:
        """Return what is to be remembered of one folder."""
        others = listed.others
        if others:
            records |= {name: self._no_file(listed, name) for name in others}
        ordered = [records[name] for name in listed.names]
        return Folder(
            listed.own,
            listed.names,
            kinds=b"".join([record[:1] for record in ordered]),
            stamps=b"".join([record[_STAMP] for record in ordered if record[0] != _SUBFOLDER]),
            hashes=b"".join([record[_HASH] for record in ordered]),
        )

    def _no_file(self, listed: Listed, name: str) -> bytes:
        """Return the record of a symlink or subfolder."""
        if listed.others[name] == "d":
            return b"d" + bytes(RECORD - 1)
        place = os.path.join(self._root, listed.folder, name)
        return b"l" + columns.stamp(os.lstat(place)) + bytes(32)

    def _encode(self, path: str, below: list[Listed]) -> Digest:
        """Return the digest of the Tree of folders that were listed and hashed."""
        parts: list[tuple[bytes, bytes]] = []
        for listed in below:
            here, known = listed.folder, self._folders[listed.folder]
            prefix = "" if here == path else here[len(path) + 1 if path else 0 :] + "/"
            if not listed.names and prefix:
                folder = os.fsencode(prefix[:-1])
                parts.append((folder, b"d" + _text(folder)))
            at = 0
            for index, name in enumerate(listed.names):
                kind = known.kinds[index]
                if kind == _SUBFOLDER:
                    continue
                relative = os.fsencode(prefix + name)
                if name in listed.others:
                    record = self._link(relative, os.path.join(self._root, here, name), path)
                else:
                    record = file_record(
                        relative,
                        known.hashes[32 * index : 32 * index + 32],
                        size=int.from_bytes(known.stamps[at : at + 8], "little"),
                        executable=kind == _EXECUTABLE,
                    )
                parts.append((relative, record))
                at += WIDTH
        parts.sort()
        return digest_of(TREE_MAGIC + b"".join([record for _, record in parts]))

    def _link(self, relative: bytes, place: str, path: str) -> bytes:
        """Return the encoding of a symlink; refuse one that leaves the folder `path`."""
        target = os.readlink(place)
        if escapes(os.fsdecode(relative), target):
            raise InputError(f"the symlink `{path}/{os.fsdecode(relative)}` leaves `{path}`")
        return b"l" + _text(relative) + _text(os.fsencode(target))


def _looks(folder: str, names: list[str], *, follow: bool = True) -> bytes | None:
    """Return the columns of files in a folder; None when one of them is missing."""
    try:
        at = columns.open_folder(folder)
    except OSError:
        return None
    try:
        return columns.take(names, at=at, follow=follow)
    finally:
        os.close(at)


def _below(folder: str, name: str) -> str:
    """Return the path of `name` in a folder; the root is "", and "" is the folder itself."""
    return f"{folder}/{name}" if folder and name else folder or name


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def _content(record: bytes) -> Content:
    digest = Digest(record[_HASH].hex(), int.from_bytes(record[1:9], "little"))
    return Content(chr(record[0]), digest)
