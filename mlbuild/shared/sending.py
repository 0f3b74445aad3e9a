"""Sending: the contents of a tree, or of a file, become pieces in a bucket.

Every file is read once. While it is cut, squeezed and sent it is also compared with its digest: no
listing ever promises what its objects do not hold.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from blake3 import blake3

from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.tree import Tree
from mlbuild.errors import InputError
from mlbuild.shared.chunks import MOST, Read, best_cuts, chunks_of
from mlbuild.shared.lanes import Errand, Lanes
from mlbuild.shared.layout import CHUNKS, PACKS
from mlbuild.shared.listing import INLINE, Listing, Pack, Piece, contents_of
from mlbuild.shared.objects import Objects
from mlbuild.shared.packs import pack_id, packed
from mlbuild.store import files


def send(tree: Tree, folder: str, *, objects: Objects, lanes: Lanes) -> Listing:
    """Keep the contents of `tree`, whose files lie in `folder`; say where they are.

    What is known to be there is not sent. A small tree is not sent at all: its contents are in the
    listing. Raises InputError for a file that is not what `tree` says.
    """
    small, large = contents_of(tree)
    paths = _paths(tree, folder)
    if sum(content.size for content in (*small, *large)) <= INLINE:
        return Listing(tree, inline=_joined(small, paths))
    counts: list[int] = []
    groups = list(packed(small))

    def errands() -> Iterator[Errand[Piece]]:
        for group in groups:
            yield _pack(group, paths, objects)
        for content in large:
            counts.append(0)
            with opened_file(paths[content]) as read:
                for errand in _chunks(read, content, paths[content], objects):
                    counts[-1] += 1
                    yield errand

    pieces = iter(lanes.all(errands()))
    packs = tuple(Pack(next(pieces), len(group)) for group in groups)
    return Listing(tree, packs, tuple(tuple(next(pieces) for _ in range(n)) for n in counts))


def send_content(
    read: Read, content: Digest, shown: str, *, objects: Objects, lanes: Lanes
) -> list[Piece]:
    """Keep a large content as chunks. Raises InputError, which calls it `shown`, as `send` does."""
    return lanes.all(_chunks(read, content, shown, objects))


def _paths(tree: Tree, folder: str) -> dict[Digest, str]:
    """Return where each content lies."""
    found: dict[Digest, str] = {}
    for entry, content in tree.files():
        if content not in found:
            found[content] = f"{folder}/{entry.path}"
    return found


def _pack(group: Sequence[Digest], paths: dict[Digest, str], objects: Objects) -> Errand[Piece]:
    """Return the errand that keeps a pack; its files are read now, unless it is there already."""
    name, size = pack_id(group), sum(content.size for content in group)
    known = objects.known_piece(PACKS, name, size=size)
    if known is not None:
        return Errand(lambda: known, cost=0)
    joined = _joined(group, paths)
    return Errand(partial(objects.keep_piece, PACKS, name, joined), cost=2 * size)


def _joined(contents: Sequence[Digest], paths: dict[Digest, str]) -> bytes:
    return b"".join([content_of(paths[content], content) for content in contents])


def content_of(path: str, content: Digest) -> bytes:
    """Return the bytes of a small file; raise InputError unless they are `content`."""
    try:
        fd = os.open(path, files.READ)
    except FileNotFoundError as error:
        raise InputError(f"no such file: `{path}`") from error
    try:
        found = files.read_open(fd, content.size)
    finally:
        os.close(fd)
    if len(found) != content.size or digest_of(found) != content:
        raise _changed(path)
    return found


def _changed(path: str) -> InputError:
    return InputError(f"`{path}` changed after its digest was taken")


@contextmanager
def opened_file(path: str) -> Iterator[Read]:
    """Open a file for reading at any offset."""
    fd = os.open(path, files.READ)

    def read(at: int, size: int) -> bytes:
        found = os.pread(fd, size, at)
        while len(found) < size and (more := os.pread(fd, size - len(found), at + len(found))):
            found += more
        return found

    try:
        yield read
    finally:
        os.close(fd)


def _chunks(read: Read, content: Digest, shown: str, objects: Objects) -> Iterator[Errand[Piece]]:
    """Yield an errand for each chunk; the last one is followed by the verdict on all of them."""
    hasher, size = blake3(), 0
    for chunk in chunks_of(read, content.size, cuts=best_cuts()):
        hasher.update(chunk)
        size += len(chunk)
        yield Errand(partial(_keep_chunk, chunk, objects), cost=min(2 * len(chunk), 2 * MOST))
    if size != content.size or hasher.hexdigest() != content.hash:
        raise _changed(shown)


def _keep_chunk(chunk: bytes, objects: Objects) -> Piece:
    name = blake3(chunk).hexdigest()
    known = objects.known_piece(CHUNKS, name, size=len(chunk))
    return known or objects.keep_piece(CHUNKS, name, chunk)
