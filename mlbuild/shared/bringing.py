"""Bringing: pieces of a bucket become the files of a tree, every one of them verified.

Threads fetch and unsqueeze; the caller's own thread hashes and writes, in order. Files come before
symlinks, so nothing is ever written through one.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from blake3 import blake3

from mlbuild.core.digest import Digest
from mlbuild.core.tree import Entry, Kind, Tree
from mlbuild.errors import HostError
from mlbuild.shared.lanes import Errand, Lanes
from mlbuild.shared.layout import CHUNKS, PACKS
from mlbuild.shared.listing import Listing, Pack, Piece, contents_of
from mlbuild.shared.objects import LostError, Objects
from mlbuild.shared.packs import opened
from mlbuild.store import files

# What a file system says of names that it cannot have, or takes for one and the same.
_UNFIT = {errno.ENAMETOOLONG, errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Source:
    """Where pieces come from: `scope` is that of the listing that names them."""

    objects: Objects
    lanes: Lanes
    scope: str

    def errand(self, kind: str, piece: Piece) -> Errand[bytes]:
        """Return the errand that fetches a piece."""
        take = partial(self.objects.take_piece, kind, piece, scope=self.scope)
        return Errand(take, cost=piece.size + piece.stored * piece.squeezed)


def bring(listing: Listing, folder: str, source: Source) -> None:
    """Write a tree into the empty `folder`.

    Raises LostError when bytes are gone or wrong, HostError when the disk does not take them.
    """
    tree = listing.tree
    _check_room(folder, tree.size)
    with _unfit_is_lost(), files.disk_errors(folder):
        _make_folders(tree, folder)
        places = _places(tree, folder)
        small, large = contents_of(tree)
        if listing.inline is not None:
            _write_small(listing.inline, small, places)
        else:
            errands = (source.errand(kind, piece) for kind, piece in listing.pieces())
            with closing(source.lanes.in_order(errands)) as pieces:
                _write_packs(listing.packs, small, places, pieces=pieces, source=source)
                for content, chunks in zip(large, listing.chunks, strict=True):
                    _write_large(chunks, content, places[content], pieces=pieces, source=source)
        for entry in tree.entries:
            if entry.kind is Kind.SYMLINK:
                os.symlink(entry.target, f"{folder}/{entry.path}")


def bring_content(chunks: Sequence[Piece], content: Digest, to: str, source: Source) -> None:
    """Write a large content to the new file `to`; raises as `bring` does."""
    _check_room(os.path.dirname(to), content.size)
    errands = (source.errand(CHUNKS, piece) for piece in chunks)
    with (
        files.disk_errors(os.path.dirname(to)),
        closing(source.lanes.in_order(errands)) as pieces,
    ):
        _write_large(chunks, content, [(to, 0o644)], pieces=pieces, source=source)


def _check_room(folder: str, size: int) -> None:
    """Refuse what is larger than the disk before a byte of it is fetched."""
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if size > free:
        raise HostError(
            f"an output of {size / 2**20:.0f} MiB from the shared cache has no room here "
            f"({free / 2**20:.0f} MiB are free at `{folder}`)",
            hints=("free some space, or set MLBUILD_CACHE_DIR to a folder on a larger disk",),
        )


@contextmanager
def _unfit_is_lost() -> Iterator[None]:
    """Take a tree for lost whose names this file system cannot have."""
    try:
        yield
    except HostError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _UNFIT:
            raise LostError from error
        raise


Place = tuple[str, int]  # absolute path and mode of a file


def _places(tree: Tree, folder: str) -> dict[Digest, list[Place]]:
    """Return where each content is to be."""
    found: dict[Digest, list[Place]] = {}
    for entry, content in tree.files():
        found.setdefault(content, []).append((f"{folder}/{entry.path}", _mode(entry)))
    return found


def _mode(entry: Entry) -> int:
    return 0o755 if entry.kind is Kind.EXECUTABLE else 0o644


def _make_folders(tree: Tree, folder: str) -> None:
    made = {""}
    for entry in tree.entries:
        path = entry.path if entry.kind is Kind.EMPTY else entry.path.rpartition("/")[0]
        if path not in made:
            os.makedirs(f"{folder}/{path}", 0o755, exist_ok=True)
            made.add(path)


def _write_packs(
    packs: Sequence[Pack],
    small: Sequence[Digest],
    places: dict[Digest, list[Place]],
    *,
    pieces: Iterator[bytes],
    source: Source,
) -> None:
    """Write the contents of the packs, which are the next of `pieces`."""
    at = 0
    for pack in packs:
        content = next(pieces)
        inside = small[at : at + pack.contents]
        at += pack.contents
        try:
            _write_small(content, inside, places)
        except LostError:
            source.objects.blame(PACKS, pack.piece, content, scope=source.scope)
            raise


def _write_small(
    joined: bytes, contents: Sequence[Digest], places: dict[Digest, list[Place]]
) -> None:
    """Write contents that lie one after the other; raise LostError when one of them is wrong."""
    for content, found in opened(joined, contents):
        if blake3(found).hexdigest() != content.hash or len(found) != content.size:
            raise LostError
        for path, mode in places[content]:
            files.write_new(path, found, mode=mode)


def _write_large(
    chunks: Sequence[Piece],
    content: Digest,
    places: Sequence[Place],
    *,
    pieces: Iterator[bytes],
    source: Source,
) -> None:
    """Write a content whose chunks are the next of `pieces`; raise LostError when it is wrong."""
    (path, mode), *others = places
    hasher = blake3()
    fd = os.open(path, files.NEW, 0o600)
    try:
        for _ in chunks:
            piece = next(pieces)
            hasher.update(piece)
            files.write_open(fd, piece)
            del piece  # it has had its room
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    if hasher.hexdigest() != content.hash:
        _blame(path, chunks, source)
        raise LostError
    for other, its_mode in others:
        files.copy_new(path, other, mode=its_mode)


def _blame(path: str, chunks: Sequence[Piece], source: Source) -> None:
    """Report those chunks of a written file that are not what their names say."""
    with open(path, "rb") as file:
        for piece in chunks:
            found = file.read(piece.size)
            if blake3(found).hexdigest() != piece.hash:
                source.objects.blame(CHUNKS, piece, found, scope=source.scope)
