"""Hashes of what is sent and brought: ours and the server's, without a whole file in memory."""

import hashlib
import os
from collections.abc import Iterable

from blake3 import blake3

from mlbuild.core.digest import Digest
from mlbuild.hashing import threads

_PIECE = 1 << 20
_MANY = 16 << 20  # bytes from which all cores help


def both(pieces: Iterable[bytes]) -> tuple[Digest, bytes]:
    """Return the Digest and the SHA-256 of the joined `pieces`, from one reading."""
    ours, theirs, size = blake3(), hashlib.sha256(), 0
    for piece in pieces:
        ours.update(piece)
        theirs.update(piece)
        size += len(piece)
    return Digest(ours.hexdigest(), size), theirs.digest()


def hashed(path: str) -> Digest:
    """Return the Digest of the file at `path`."""
    size = os.stat(path).st_size
    ours = blake3(max_threads=threads() if size >= _MANY else 1)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE if size < _MANY else 4 * _PIECE):
            ours.update(piece)
    return Digest(ours.hexdigest(), size)
