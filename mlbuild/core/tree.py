"""Tree: an immutable directory, and the one encoding its digest is taken of (docs/format.md)."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from mlbuild.core.digest import Digest, digest_of
from mlbuild.errors import InputError

MAGIC = b"mlbuild tree 1\n"
MAX_DEPTH = 256
MAX_NAME = 255  # bytes


class Kind(Enum):
    """What an entry is; its value is the byte that stands for it in the encoding."""

    FILE = "f"
    EXECUTABLE = "x"
    SYMLINK = "l"
    EMPTY = "d"  # a directory with nothing in it; others follow from the paths


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a Tree: a file by digest, a symlink by target, or an empty directory."""

    path: str  # POSIX, relative, undecodable bytes as surrogates
    kind: Kind
    digest: Digest | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """An immutable directory: entries sorted by the bytes of their paths."""

    entries: tuple[Entry, ...]

    def files(self) -> Iterator[tuple[Entry, Digest]]:
        """Yield the entries that have bytes, with their digests."""
        for entry in self.entries:
            if entry.digest is not None:
                yield entry, entry.digest

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(digest.size for _, digest in self.files())


def tree_of(entries: Iterable[Entry]) -> Tree:
    """Return the Tree of `entries` in canonical order; refuse names that could escape or clash."""
    ordered = tuple(sorted(entries, key=lambda entry: encoded(entry.path)))
    check(ordered)
    return Tree(ordered)


def encoded(text: str) -> bytes:
    """Return the bytes of a path as the file system has them."""
    return text.encode("utf-8", "surrogateescape")


def below(tree: Tree, folder: str) -> Iterator[Entry]:
    """Yield what `tree` has below `folder`, seen from there."""
    prefix = f"{folder}/"
    for entry in tree.entries:
        if entry.path == folder and entry.kind is not Kind.EMPTY:
            yield entry
        elif entry.path.startswith(prefix):
            yield replace(entry, path=entry.path.removeprefix(prefix))


def moved(entries: Iterable[Entry], folder: str) -> Tree:
    """Return the tree that has `entries` below `folder`; it is there even when it is empty."""
    found = [replace(entry, path=f"{folder}/{entry.path}") for entry in entries]
    return tree_of(found or [Entry(folder, Kind.EMPTY)])


def file_record(path: bytes, hash_: bytes, *, size: int, executable: bool) -> bytes:
    """Return the encoding of one file entry; `hash_` is the raw 32 bytes."""
    return b"%c%b%b%b%b" % (
        b"x" if executable else b"f",
        struct.pack("<I", len(path)),
        path,
        hash_,
        struct.pack("<Q", size),
    )


def encode(tree: Tree) -> bytes:
    """Return the canonical bytes of `tree`."""
    parts = [MAGIC]
    for entry in tree.entries:
        path = encoded(entry.path)
        if entry.digest is not None:
            parts.append(
                file_record(
                    path,
                    bytes.fromhex(entry.digest.hash),
                    size=entry.digest.size,
                    executable=entry.kind is Kind.EXECUTABLE,
                )
            )
            continue
        parts.append(entry.kind.value.encode() + struct.pack("<I", len(path)) + path)
        if entry.kind is Kind.SYMLINK:
            target = encoded(entry.target)
            parts.append(struct.pack("<I", len(target)) + target)
    return b"".join(parts)


def decode(content: bytes) -> Tree:
    """Read what `encode` wrote; raise InputError for anything `encode` would not have written."""
    if not content.startswith(MAGIC):
        raise InputError("not a tree of this version")
    entries: list[Entry] = []
    at = len(MAGIC)
    try:
        while at < len(content):
            kind = Kind(chr(content[at]))
            path, at = _text(content, at + 1)
            if kind in {Kind.FILE, Kind.EXECUTABLE}:
                if at + 40 > len(content):
                    raise InputError("a tree ends in the middle of an entry")
                (size,) = struct.unpack_from("<Q", content, at + 32)
                entries.append(Entry(path, kind, Digest(content[at : at + 32].hex(), size)))
                at += 40
            elif kind is Kind.SYMLINK:
                target, at = _text(content, at)
                entries.append(Entry(path, kind, target=target))
            else:
                entries.append(Entry(path, kind))
    except (ValueError, struct.error) as error:
        raise InputError("a tree holds an entry that cannot be read") from error
    tree = Tree(tuple(entries))
    check(tree.entries)
    return tree


def digest_tree(tree: Tree) -> Digest:
    """Return the Digest of the canonical bytes of `tree`."""
    return digest_of(encode(tree))


def check(entries: tuple[Entry, ...]) -> None:
    """Refuse entries out of order, twice or below a file, and what leaves the tree."""
    last = b""
    leaves: set[str] = set()
    folders = {""}  # that are safe and below no file: a file sorts before what would lie below it
    for entry in entries:
        path = encoded(entry.path)
        if path <= last:
            raise InputError(f"tree entry {entry.path!r} is out of order or given twice")
        last = path
        folder, slash, name = entry.path.rpartition("/")
        if folder not in folders or (slash and not folder):
            parts = folder.split("/")
            if len(parts) >= MAX_DEPTH or not all(map(safe_name, parts)):
                raise InputError(f"tree entry {entry.path!r} is not a safe relative path")
            if any("/".join(parts[:n]) in leaves for n in range(1, len(parts) + 1)):
                raise InputError(f"tree entry {entry.path!r} lies below a file")
            folders.add(folder)
        if not safe_name(name):
            raise InputError(f"tree entry {entry.path!r} is not a safe relative path")
        leaves.add(entry.path)
        if entry.kind is Kind.SYMLINK and escapes(entry.path, entry.target):
            raise InputError(f"symlink {entry.path!r} points out of its tree: {entry.target!r}")


def safe_name(name: str) -> bool:
    """Say whether `name` may be one component of a path in a tree."""
    return name not in {"", ".", ".."} and "\0" not in name and len(encoded(name)) <= MAX_NAME


def escapes(path: str, target: str) -> bool:
    """Say whether a symlink at `path` with this `target` leaves the tree (by its text alone)."""
    if not target or target.startswith("/") or "\0" in target:
        return True
    depth = path.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in {"", "."}:
            depth += 1
    return False


def _text(content: bytes, at: int) -> tuple[str, int]:
    """Read a length-prefixed text; return it and where the next field starts."""
    (length,) = struct.unpack_from("<I", content, at)
    end = at + 4 + length
    if end > len(content):
        raise InputError("a tree ends in the middle of a name")
    return content[at + 4 : end].decode("utf-8", "surrogateescape"), end
