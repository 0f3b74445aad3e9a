"""Survey: what a store holds, how large it is, when it was last used, and what needs it.

Sizes are those of disk blocks of 4 KiB. A tree counts for its small files, which nobody shares, and
a blob for all that have its inode. Nothing here changes a store; what others add or remove while it
is read is there or not.
"""

import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from mlbuild.core.result import Result, decode
from mlbuild.core.tree import Kind
from mlbuild.core.tree import decode as decode_tree
from mlbuild.errors import InputError
from mlbuild.store import files
from mlbuild.store.blobs import EXECUTABLE, PLAIN, STAMP
from mlbuild.store.leases import leases
from mlbuild.store.pins import pins
from mlbuild.store.sidecar import SUFFIX, unpack
from mlbuild.store.uses import shown, uses

BLOCK = 4096
ENTRIES = "ac"
OTHERS = (  # what is not looked into
    "manifests",
    "runs",
    "checkpoints",
    "quarantine",
    "kept",
    "downloads",
    "uploads",
    "far",
    "known",
    "known",
    "code",
    "tools",
    "sandbox",
    "tmp",
)
_KEY = 64  # letters


@dataclass(frozen=True, slots=True)
class Known:
    """A result, or a later one that differs."""

    path: str  # absolute
    key: str
    used: int  # ns
    trees: tuple[str, ...]  # hashes; the first is that of all its outputs
    log: str = ""  # address of a blob


@dataclass(frozen=True, slots=True)
class Stored:
    """A tree or a blob."""

    path: str  # absolute; of a tree its folder
    used: int  # ns
    size: int  # bytes of disk


@dataclass(slots=True)
class Survey:
    """What is in the store at `root`."""

    root: str
    known: list[Known] = field(default_factory=list)
    trees: dict[str, Stored] = field(default_factory=dict)  # by hash
    blobs: dict[str, Stored] = field(default_factory=dict)  # by address
    shown: dict[str, set[str]] = field(default_factory=dict)  # workspace -> hashes of trees
    pinned: set[str] = field(default_factory=set)  # keys
    queued: set[str] = field(default_factory=set)  # keys that wait to be uploaded
    others: dict[str, int] = field(default_factory=dict)  # bytes of disk, by folder
    leases: dict[int, int] = field(default_factory=dict)  # pid -> since when (ns)

    @property
    def parts(self) -> dict[str, int]:
        """Bytes of disk by what they are for."""
        return {
            "results": BLOCK * len(self.known),
            "trees": sum(one.size for one in self.trees.values()),
            "blobs": sum(one.size for one in self.blobs.values()),
            **self.others,
        }

    @property
    def size(self) -> int:
        """Bytes of disk together."""
        return sum(self.parts.values())


def survey(root: str, *, whole: bool = True) -> Survey:
    """Read what the store at `root` holds; without `whole`, no sizes of what is not looked into."""
    found = Survey(root, leases=leases(root))
    latest: dict[str, int] = {}
    for use in uses(root):
        for key in use.keys:
            latest[key] = max(use.used, latest.get(key, 0))
        if use.workspace not in found.shown and os.path.isdir(use.workspace):
            found.shown[use.workspace] = shown(root, use.workspace)
    found.pinned.update(key for pin in pins(root) for key in pin.keys)
    found.queued.update(_queued(f"{root}/uploads"))
    found.known.extend(_known(root, latest))
    for hash_, tree in _trees(root):
        found.trees[hash_] = tree
    for kind in (PLAIN, EXECUTABLE):
        found.blobs.update(_blobs(root, kind))
    if whole:
        for name in OTHERS:
            found.others[name] = files.usage(f"{root}/{name}", seen=set())
    return found


def disk(size: int) -> int:
    """Return the bytes of disk that a file takes."""
    return -(-size // BLOCK) * BLOCK


def address(hash_: str, size: int, *, executable: bool = False) -> str:
    """Return the address of a blob: large executable ones lie apart."""
    return f"x{hash_}" if executable and size >= files.SHARED else hash_


def contents(root: str, tree: str) -> list[tuple[str, int, str]]:
    """Return address, size in bytes and path of each file of a tree; nothing when it is gone."""
    content = files.read_file(f"{tree_path(root, tree)}{SUFFIX}")
    sidecar = unpack(content, name=tree) if content is not None else None
    if sidecar is None:
        return []
    return [
        (
            address(digest.hash, digest.size, executable=entry.kind is Kind.EXECUTABLE),
            digest.size,
            entry.path,
        )
        for entry, digest in decode_tree(sidecar.encoded).files()
    ]


def tree_path(root: str, tree: str) -> str:
    """Return where the tree with this hash lies when it is here."""
    return f"{root}/trees/{tree[:2]}/{tree}"


def sharded(root: str, kind: str) -> Iterator[str]:
    """Yield the paths root/kind/*/*."""
    for shard in files.below(f"{root}/{kind}"):
        yield from files.below(shard)


def trees_of(result: Result) -> tuple[str, ...]:
    """Return the hashes of the trees that a result names; the first has all its outputs."""
    below = (one.digest.hash for _, one in result.outputs if one.kind == "t")
    return (result.tree.hash, *below)


def _queued(folder: str) -> Iterator[str]:
    """Yield the keys of all files below a folder, however deep."""
    for _, _, names in os.walk(folder):
        for name in names:
            key = name.partition(".")[0]
            if len(key) == _KEY:
                yield key


def _known(root: str, latest: Mapping[str, int]) -> Iterator[Known]:
    for path in sharded(root, ENTRIES):
        key = os.path.basename(path).partition(".")[0]
        used = max(used_at(path), latest.get(key, 0))
        result = read_result(path)
        if used == 0:
            continue
        log = result.log.hash if result and result.log else ""
        yield Known(path, key, used, trees_of(result) if result else (), log)


def read_result(path: str) -> Result | None:
    """Return the Result in a file; None when there is none that can be read."""
    try:
        return decode(files.read_file(path) or b"")
    except (InputError, ValueError, KeyError, TypeError):
        return None


def _trees(root: str) -> Iterator[tuple[str, Stored]]:
    """Yield the trees by hash, incomplete ones included: those are as old as their folders."""
    seen: set[int] = set()
    for shard in files.below(f"{root}/trees"):
        names = {os.path.basename(path).removesuffix(SUFFIX) for path in files.below(shard)}
        for name in sorted(names):
            place = f"{shard}/{name}"
            content = files.read_file(place + SUFFIX)
            sidecar = unpack(content, name=name) if content is not None else None
            used = max(used_at(place + SUFFIX), 0 if sidecar else changed(place))
            if sidecar is None or content is None:
                yield name, Stored(place, used, files.usage(place, seen=seen))
                continue
            size = disk(len(content)) + _own(sidecar.columns, seen)
            yield name, Stored(place, used, size)


def _own(columns: bytes, seen: set[int]) -> int:
    """Return the bytes of disk of the folders and small files that have these stamps."""
    numbers = array("q", columns)
    total = 0
    for size, inode in zip(numbers[::4], numbers[3::4], strict=True):
        if size < files.SHARED and inode not in seen:
            seen.add(inode)
            total += disk(size)
    return total


def _blobs(root: str, kind: str) -> Iterator[tuple[str, Stored]]:
    for path in sharded(root, kind):
        with suppress(FileNotFoundError):
            found = os.lstat(path)
            if path.endswith(STAMP):
                if not os.path.lexists(path.removesuffix(STAMP)):  # its blob went first
                    yield path, Stored(path, found.st_mtime_ns, BLOCK)
                continue
            size, used = disk(found.st_size), found.st_ctime_ns
            if found.st_size >= files.SHARED:
                size, used = size + BLOCK, max(used, used_at(path + STAMP))
            name = os.path.basename(path)
            yield f"x{name}" if kind == EXECUTABLE else name, Stored(path, used, size)


def newest(path: str) -> int:
    """Return when the last change was made at most two folders below `path` (ns); 0 when gone."""
    times = [changed(path)]
    for inner in files.below(path):
        times.append(changed(inner))
        times.extend(changed(one) for one in files.below(inner))
    return max(times)


def used_at(path: str) -> int:
    """Return when the file at `path` was last touched (ns); 0 when it has gone."""
    try:
        return os.lstat(path).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def changed(path: str) -> int:
    """Return the ctime in ns, or the mtime of a folder where it is later; 0 when it has gone."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return max(found.st_ctime_ns, found.st_mtime_ns if stat.S_ISDIR(found.st_mode) else 0)


def total(stored: Iterable[Stored]) -> int:
    """Return the bytes of disk of all of them."""
    return sum(one.size for one in stored)
