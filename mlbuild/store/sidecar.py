"""Sidecar: what stands beside a materialised tree, `trees/ab/<digest>.stamps`, written last.

It says that the tree is complete, what is in it, and how every file and folder looked when its
bytes were last known to be right. Symlinks have no stamp: one cannot change unless its folder does.

Format: a line with the BLAKE3 of the stamps, then the stamps (their length in 8 bytes; the number
of paths in 4; size, mtime, ctime in ns and inode of each, 8 bytes each; the paths, separated by
NUL), then the encoded Tree, whose BLAKE3 is the name of the file.
"""

import os
import struct
from array import array
from dataclasses import dataclass

from mlbuild.core.digest import digest_of
from mlbuild.store import files
from mlbuild.store.blobs import INODE

MAGIC = b"mlbuild stamps 1 "
SUFFIX = ".stamps"
_LENGTH = struct.Struct("<Q")
_COUNT = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The stamps of a tree and its encoding. The first path is b"", the tree's own folder."""

    paths: list[bytes]
    columns: bytes  # four signed 64-bit integers for each path
    encoded: bytes


def pack(sidecar: Sidecar) -> bytes:
    """Return the bytes of the file."""
    count = _COUNT.pack(len(sidecar.paths))
    stamps = b"%b%b%b" % (count, sidecar.columns, b"\0".join(sidecar.paths))
    head = b"%b%b\n%b" % (MAGIC, digest_of(stamps).hash.encode(), _LENGTH.pack(len(stamps)))
    return head + stamps + sidecar.encoded


def unpack(content: bytes, *, name: str) -> Sidecar | None:
    """Read the sidecar of tree `name`; None when a single bit is wrong."""
    start = len(MAGIC) + 65 + _LENGTH.size
    if len(content) < start + _COUNT.size:
        return None
    (length,) = _LENGTH.unpack_from(content, start - _LENGTH.size)
    stamps, encoded = content[start : start + length], content[start + length :]
    head = b"%b%b\n" % (MAGIC, digest_of(stamps).hash.encode())
    if not content.startswith(head) or digest_of(encoded).hash != name:
        return None
    (count,) = _COUNT.unpack_from(stamps)
    end = _COUNT.size + 32 * count
    return Sidecar(stamps[end:].split(b"\0"), stamps[_COUNT.size : end], encoded)


def take_columns(fd: int, paths: list[bytes]) -> bytes | None:
    """Return how `paths`, relative to the open folder, look now; None when one is missing."""
    found: array[int] = array("q")
    stat, extend = os.stat, found.extend
    try:
        for path in paths:
            it = stat(path, dir_fd=fd, follow_symlinks=False) if path else os.fstat(fd)
            extend((it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino & INODE))
    except (OSError, OverflowError):
        return None
    return found.tobytes()


def untouched(columns: bytes) -> bool:
    """Say whether everything has the mtime that the store gives: nobody wrote since."""
    return set(array("q", columns)[1::4]) == {files.MOMENT}
