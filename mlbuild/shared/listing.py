"""Listing: a tree, and where the bytes of its files are in a shared cache (docs/format.md).

The contents of a tree are its distinct file contents, in the order of their first paths. Those of
less than 1 MiB are small: they lie one after the other in packs, or inline when all of them
together are at most 64 KiB. Each large one is a sequence of chunks.

A listing is not believed: its tree has a digest, and every content is compared with the digest
that it has in the tree.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.tree import Tree, decode, encode
from mlbuild.errors import InputError
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.fields import Fields, field, number, wrapped
from mlbuild.store.links import stray_link

MAGIC = b"mlbuild listing 1 "
LARGE = 1 << 20  # bytes; contents from here on are chunked
INLINE = 64 * 1024  # bytes of all contents of a tree that travels with its listing
LIMIT = 32 << 20  # bytes of a decoded listing
PIECE_LIMIT = 16 << 20  # bytes of a pack or chunk
LEAST = 64 * 1024  # bytes of a chunk, on average
_SQUEEZED, _IN_MAIN = 1, 2
_PIECE = struct.Struct("<32sIIB")


@dataclass(frozen=True, slots=True)
class Piece:
    """An object with a pack or a chunk."""

    hash: str  # 64 hexadecimal digits; what it is of is up to who keeps the object
    size: int  # bytes of what is in it
    stored: int  # bytes of the object
    squeezed: bool = False  # whether it is a zstd frame
    in_main: bool = False  # whether it lies in `main` and not in the scope of the listing


@dataclass(frozen=True, slots=True)
class Pack:
    """A piece with the next so many small contents."""

    piece: Piece
    contents: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree and where its bytes are: inline, or in packs and chunks."""

    tree: Tree
    packs: tuple[Pack, ...] = ()
    chunks: tuple[tuple[Piece, ...], ...] = ()  # of each large content
    inline: bytes | None = None  # all contents, one after the other

    def pieces(self) -> list[tuple[str, Piece]]:
        """Return all pieces, each with its kind: "packs" or "chunks"."""
        found = [("packs", pack.piece) for pack in self.packs]
        found.extend(("chunks", piece) for pieces in self.chunks for piece in pieces)
        return found


def contents_of(tree: Tree) -> tuple[list[Digest], list[Digest]]:
    """Return the distinct contents of a tree, the small ones and the large ones."""
    every = dict.fromkeys(digest for _, digest in tree.files())
    small = [digest for digest in every if digest.size < LARGE]
    return small, [digest for digest in every if digest.size >= LARGE]


def encode_listing(listing: Listing) -> bytes:
    """Return the bytes of a listing; raise SharedTrouble when it is too large to be shared."""
    parts = [field(encode(listing.tree)), number(len(listing.packs))]
    parts.extend(number(pack.contents) + _encode_piece(pack.piece) for pack in listing.packs)
    parts.append(number(len(listing.chunks)))
    parts.extend(encode_pieces(pieces) for pieces in listing.chunks)
    parts.append(b"\0" if listing.inline is None else b"\1" + field(listing.inline))
    body = b"".join(parts)
    if len(body) > LIMIT:
        raise SharedTrouble(
            "refused",
            f"a folder of {len(listing.tree.entries)} files is too large for the shared cache",
            cure='pack its files into archives, or give the target `cache = "local"`',
        )
    return wrapped(body, magic=MAGIC)


def encode_pieces(pieces: Sequence[Piece]) -> bytes:
    """Return the bytes of the chunks of one content."""
    return number(len(pieces)) + b"".join([_encode_piece(piece) for piece in pieces])


def _encode_piece(piece: Piece) -> bytes:
    flags = _SQUEEZED * piece.squeezed | _IN_MAIN * piece.in_main
    return _PIECE.pack(bytes.fromhex(piece.hash), piece.size, piece.stored, flags)


def decode_listing(content: bytes, digest: Digest) -> Listing:
    """Read the listing of the tree `digest`; raise SharedTrouble unless all is as it must be.

    What `content` declares is compared with what is allowed before anything is made of it.
    """
    body = Fields.wrapped(content, magic=MAGIC, limit=LIMIT)
    tree = _tree(body.field(limit=LIMIT), digest)
    small, large = contents_of(tree)
    packs = tuple(
        Pack(contents=body.number(limit=len(small)), piece=_decode_piece(body))
        for _ in range(body.number(limit=len(small)))
    )
    count = body.number(limit=len(large))
    chunks = tuple(decode_pieces(body, content) for content in large[:count])
    inline = body.field(limit=INLINE) if _flag(body) else None
    body.end()
    listing = Listing(tree, packs, chunks, inline)
    _check(listing, small, large)
    return listing


def _flag(fields: Fields) -> bool:
    flag = fields.take(1)
    if flag not in {b"\0", b"\1"}:
        raise SharedTrouble("damaged", "it has a flag that is neither yes nor no")
    return flag == b"\1"


def _tree(encoded: bytes, digest: Digest) -> Tree:
    """Return the tree with these bytes, if they are those of `digest`."""
    if digest_of(encoded) != digest:
        raise SharedTrouble("damaged", "it lists another tree")
    try:
        tree = decode(encoded)
    except InputError as error:
        raise SharedTrouble("damaged", error.message) from error
    stray = stray_link(tree.entries)
    if stray is not None:
        raise SharedTrouble("damaged", f"its symlink {stray!r} leads out of the tree")
    return tree


def decode_pieces(fields: Fields, content: Digest) -> tuple[Piece, ...]:
    """Read the chunks of a content; their sizes must make up its own."""
    count = fields.number(limit=content.size // LEAST + 1)
    pieces = tuple(_decode_piece(fields) for _ in range(count))
    if sum(piece.size for piece in pieces) != content.size or not all(p.size for p in pieces):
        raise SharedTrouble("damaged", "its chunks do not make up a file")
    return pieces


def _decode_piece(fields: Fields) -> Piece:
    hash_, size, stored, flags = _PIECE.unpack(fields.take(_PIECE.size))
    piece = Piece(hash_.hex(), size, stored, bool(flags & _SQUEEZED), bool(flags & _IN_MAIN))
    fits = stored < size if piece.squeezed else stored == size
    if not fits or size > PIECE_LIMIT or flags > _SQUEEZED | _IN_MAIN:
        raise SharedTrouble("damaged", "it names a piece that cannot be")
    return piece


def _check(listing: Listing, small: list[Digest], large: list[Digest]) -> None:
    """Make sure that every content is exactly once somewhere."""
    if listing.inline is not None:
        whole = sum(digest.size for digest in (*small, *large))
        if listing.packs or listing.chunks or len(listing.inline) != whole:
            raise SharedTrouble("damaged", "its inline bytes are not those of its tree")
        return
    if len(listing.chunks) != len(large):
        raise SharedTrouble("damaged", "it has no chunks for some file")
    at = 0
    for pack in listing.packs:
        inside = small[at : at + pack.contents]
        at += pack.contents
        if not inside or sum(digest.size for digest in inside) != pack.piece.size:
            raise SharedTrouble("damaged", "a pack of it has not the size of its files")
    if at != len(small):
        raise SharedTrouble("damaged", "its packs do not hold all files")
