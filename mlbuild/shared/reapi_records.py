"""Records: what mlbuild keeps in a server's action cache beside entries, and where blobs are.

A record travels as the standard output of an action that never ran. That of a key is an entry
(`entry.py`); those here are of a tree, which say where its listing is, and of a single blob, where
the server's hash function is not ours. Nothing in them is believed before it is checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.tree import Tree, decode, encode
from mlbuild.errors import InputError
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.fields import Fields, number, sealed
from mlbuild.shared.squeeze import squeeze, unsqueeze
from mlbuild.store.links import stray_link

MAGIC = b"mlbuild reapi 1 "
LIMIT = 64 << 20  # bytes of a record or listing, unpacked
INLINE = 64 << 10  # bytes of a tree or blob that travels inside a record
_HASH = 32  # bytes
_FEW = 128  # blobs that a record names one by one


@dataclass(frozen=True, slots=True)
class Spot:
    """Where bytes are: in the server by its own hash, or right here."""

    hash: bytes
    size: int
    dense: bool = False  # does not become smaller by compression
    inline: bytes = b""

    @property
    def name(self) -> str:
        """Return the hash in hexadecimal digits."""
        return self.hash.hex()

    def digest(self) -> Any:
        """Return the Digest message of it."""
        return wire.Digest(hash=self.name, size_bytes=self.size)

    def message(self) -> Any:
        """Return the message of it."""
        return wire.Spot(hash=self.hash, size=self.size, dense=self.dense, inline=self.inline)


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree, and where the bytes of its files are; empty files are nowhere."""

    tree: Tree
    spots: Mapping[Digest, Spot]

    @property
    def far(self) -> list[Spot]:
        """What of it is in the server."""
        return [spot for spot in self.spots.values() if spot.hash]


def packed(message: Any) -> bytes:
    """Return the bytes of a record or listing."""
    content: bytes = message.SerializeToString(deterministic=True)
    frame = squeeze(content)
    head = number(len(content)) + (b"\0" if frame is None else b"\1")
    return sealed(head + (content if frame is None else frame), magic=MAGIC)


def unpacked(content: bytes, kind: Any) -> Any:
    """Read a message of this class; raise SharedTrouble for what `packed` did not make."""
    head = Fields.sealed(content, magic=MAGIC)
    size, squeezed = head.number(limit=LIMIT), head.take(1) == b"\1"
    rest = head.take(head.left())
    try:
        return kind.FromString(unsqueeze(rest, size=size) if squeezed else rest)
    except wire.DecodeError as error:
        raise SharedTrouble("damaged", "it cannot be read") from error


def spot_of(message: Any, *, size: int = -1) -> Spot:
    """Read a Spot; raise SharedTrouble for nonsense, or when it has not `size` bytes."""
    spot = Spot(message.hash, message.size, message.dense, message.inline)
    if spot.size < 1 or (size >= 0 and spot.size != size):
        raise SharedTrouble("damaged", "it names a blob of another size")
    here = len(spot.inline) == spot.size and not spot.hash
    if not here and (len(spot.hash) != _HASH or spot.inline):
        raise SharedTrouble("damaged", "it names a blob that is nowhere")
    return spot


def contents(tree: Tree) -> Iterator[Digest]:
    """Yield the digests of files that are not empty, each once, in the order of the tree."""
    yield from dict.fromkeys(digest for _, digest in tree.files() if digest.size)


def encode_listing(listing: Listing) -> bytes:
    """Return the bytes of a listing."""
    spots = (listing.spots[digest].message() for digest in contents(listing.tree))
    return packed(wire.Listing(tree=encode(listing.tree), files=spots))


def decode_listing(content: bytes, digest: Digest) -> Listing:
    """Read the listing of the tree `digest`; raise SharedTrouble when it is anything else."""
    message = unpacked(content, wire.Listing)
    if digest_of(message.tree) != digest:
        raise SharedTrouble("damaged", "it lists another tree")
    try:
        tree = decode(message.tree)
    except InputError as error:
        raise SharedTrouble("damaged", error.message) from error
    stray = stray_link(tree.entries)
    if stray is not None:
        raise SharedTrouble("damaged", f"its symlink {stray!r} leads out of the tree")
    wanted = list(contents(tree))
    if len(wanted) != len(message.files):
        raise SharedTrouble("damaged", "it has not as many places as files")
    pairs = zip(wanted, message.files, strict=True)
    return Listing(tree, {file: spot_of(spot, size=file.size) for file, spot in pairs})


def few(listing: Listing) -> bool:
    """Say whether records name the blobs of a listing one by one."""
    return len(listing.far) <= _FEW


def holder_of(spots: Sequence[Spot]) -> bytes:
    """Return the encoded API `Tree` that names all `spots`, so that a server keeps them."""
    once = {spot.name: spot for spot in spots}
    nodes = (wire.FileNode(name=name, digest=once[name].digest()) for name in sorted(once))
    tree = wire.Tree(root=wire.Directory(files=nodes))
    content: bytes = tree.SerializeToString(deterministic=True)
    return content


@dataclass(frozen=True, slots=True)
class Held:
    """The blobs that a record relies on."""

    spots: tuple[Spot, ...] = ()
    holder: Spot | None = None  # an API `Tree` that names more of them


NOTHING = Held()


def action_result(record: bytes, held: Held) -> Any:
    """Return the result that carries a record, and names all blobs that it relies on."""
    result = wire.ActionResult(stdout_raw=record)
    once = {spot.name: spot for spot in held.spots if spot.hash}
    for name in sorted(once):
        result.output_files.add(path=f"blobs/{name}", digest=once[name].digest())
    if held.holder is not None:
        result.output_directories.add(path="tree", tree_digest=held.holder.digest())
    return result


def held_by(result: Any) -> Held:
    """Return what `action_result` named; what makes no sense there is left out."""
    try:
        spots = tuple(_named(file.digest) for file in result.output_files)
        trees = [_named(folder.tree_digest) for folder in result.output_directories]
    except ValueError:
        return Held()
    return Held(spots, trees[0] if trees else None)


def _named(digest: Any) -> Spot:
    return Spot(bytes.fromhex(digest.hash), digest.size_bytes)
