"""Trees: whole trees in a cache server, in few requests."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mlbuild.core.digest import Digest
from mlbuild.core.tree import Kind, Tree, digest_tree
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.entry import LISTING_LIMIT
from mlbuild.shared.reapi_blobs import Blobs, Report, Wanted
from mlbuild.shared.reapi_loose import VOID, Loose
from mlbuild.shared.reapi_records import (
    INLINE,
    LIMIT,
    NOTHING,
    Held,
    Listing,
    Spot,
    contents,
    decode_listing,
    encode_listing,
    few,
    holder_of,
    packed,
    spot_of,
    unpacked,
)
from mlbuild.shared.reapi_shelf import Kept, Shelf
from mlbuild.shared.reapi_source import Source
from mlbuild.shared.recent import Recent

EMPTY = digest_tree(Tree(()))
_TREE = "tree"
_ROOM = 64 << 20  # bytes of what is known that stay in memory


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a tree: its listing, that as bytes, and what must stay in the server."""

    listing: Listing
    content: bytes = b""  # none when it is too long for an entry
    held: Held = NOTHING


class Trees:
    """Trees of one scope, and those of other scopes that may be read."""

    def __init__(
        self,
        blobs: Blobs,
        shelf: Shelf,
        loose: Loose,
        *,
        scope: str,
        scopes: Sequence[str],
        report: Report,
    ) -> None:
        self._blobs = blobs
        self._shelf = shelf
        self._loose = loose
        self._scope = scope
        self._scopes = scopes
        self._report = report
        self._trees: Recent[Digest, Known] = Recent(_ROOM)
        self._sent: set[Digest] = set()
        self._broken: set[Digest] = set()
        self.learn(EMPTY, Known(Listing(Tree(()), {})))

    def learn(self, digest: Digest, known: Known) -> None:
        """Remember what is known of a tree, unless this process has sent it and knows better."""
        if digest in self._sent and self._trees.find(digest) is not None:
            return
        self._trees.keep(digest, known, weight=2 * digest.size + len(known.content))
        self._loose.learn(known.listing)

    def known(self, digest: Digest) -> Known | None:
        """Return what this process knows of a tree."""
        return self._trees.find(digest)

    def is_sent(self, digest: Digest) -> bool:
        """Say whether this process has sent a tree, and never found it wanting afterwards."""
        return digest in self._sent

    def is_broken(self, digest: Digest) -> bool:
        """Say whether bytes of a tree were gone or wrong, and nobody has sent it again."""
        return digest in self._broken

    # there

    def send(self, tree: Tree, folder: str) -> None:
        """Keep the files of `tree`, which lie in `folder`: one question, then what is missing."""
        paths = {digest: f"{folder}/{entry.path}" for entry, digest in tree.files()}
        wanted = {digest: Source(path=paths[digest]) for digest in contents(tree)}
        if sum(digest.size for digest in wanted) <= INLINE:
            spots = {
                digest: Spot(b"", digest.size, inline=source.checked(digest))
                for digest, source in wanted.items()
            }
            listing = Listing(tree, spots)
            content = encode_listing(listing)
            if len(content) <= LISTING_LIMIT:
                self._is_there(digest_tree(tree), Known(listing, content))
                return
        self._shelf.check()
        jobs = [partial(self._blobs.spot, source, digest) for digest, source in wanted.items()]
        spots = dict(zip(wanted, self._blobs.all(jobs), strict=True))
        self._list(Listing(tree, spots), [(spots[digest], wanted[digest]) for digest in wanted])

    def _list(self, listing: Listing, sources: list[tuple[Spot, Source]]) -> None:
        """Send the blobs of a tree, its listing, and the record of both."""
        content, record = encode_listing(listing), wire.TreeRecord()
        spots, holder = tuple(listing.far), None
        if not few(listing):
            spots, holder = (), self._beside(holder_of(spots), sources)
        if len(content) <= LISTING_LIMIT:
            record.listing = content
        else:
            far = self._beside(content, sources)
            record.far.CopyFrom(far.message())
            spots, content = (*spots, far), b""
        self._blobs.send(sources)
        tree, held = digest_tree(listing.tree), Held(spots, holder)
        self._shelf.put(_TREE, tree.hash, packed(record), scope=self._scope, held=held)
        self._is_there(tree, Known(listing, content, held))

    def _is_there(self, digest: Digest, known: Known) -> None:
        self._sent.discard(digest)
        self.learn(digest, known)
        self._sent.add(digest)
        self._broken.discard(digest)

    def _beside(self, content: bytes, sources: list[tuple[Spot, Source]]) -> Spot:
        """Add bytes of our own to what is sent."""
        spot = Spot(self._blobs.hash(content), len(content), dense=True)
        sources.append((spot, Source(content)))
        return spot

    # back

    def bring(self, digest: Digest, folder: str) -> Tree | None:
        """Write the tree `digest` into the empty `folder`; None when bytes are gone or wrong."""
        found = self.find(digest)
        if found is None:
            return None
        if not self._write(found.listing, folder):
            self._trees.drop(digest)
            self._loose.forget(found.listing)
            self._sent.discard(digest)
            self._broken.add(digest)
            return None
        return found.listing.tree

    def find(self, digest: Digest) -> Known | None:
        """Return what is known of a tree, here or by its record."""
        known = self._trees.find(digest)
        if known is not None:
            return known
        for scope in self._scopes:
            kept = self._shelf.find(_TREE, digest.hash, scope=scope)
            try:
                known = self._listed(kept, digest) if kept is not None else None
            except SharedTrouble as trouble:
                if trouble.kind != "damaged" or kept is None:
                    raise
                self._report(f"{scope}/{_TREE}/{digest.hash}", kept.content, trouble.message)
                continue
            if known is not None:
                self.learn(digest, known)
                return known
        return None

    def _listed(self, kept: Kept, digest: Digest) -> Known | None:
        """Read the record of a tree; None when its listing is gone."""
        record = unpacked(kept.content, wire.TreeRecord)
        if not record.HasField("far"):
            listing = decode_listing(record.listing, digest)
            return Known(listing, record.listing, kept.held)
        spot = spot_of(record.far)
        if spot.size > LIMIT:
            raise SharedTrouble("damaged", "its listing is too large")
        content = self._blobs.content(spot)
        return Known(decode_listing(content, digest), b"", kept.held) if content else None

    def _write(self, listing: Listing, folder: str) -> bool:
        """Write a tree; False when bytes are gone or wrong."""
        paths: dict[Digest, list[tuple[str, int]]] = {}
        for entry in listing.tree.entries:
            path = f"{folder}/{entry.path}"
            os.makedirs(path if entry.kind is Kind.EMPTY else os.path.dirname(path), exist_ok=True)
            if entry.digest is not None:
                mode = 0o755 if entry.kind is Kind.EXECUTABLE else 0o644
                paths.setdefault(entry.digest, []).append((path, mode))
        wanted = [
            Wanted(digest, listing.spots.get(digest, VOID), tuple(found))
            for digest, found in paths.items()
        ]
        if not self._blobs.bring(wanted):
            return False
        for entry in listing.tree.entries:
            if entry.kind is Kind.SYMLINK:
                os.symlink(entry.target, f"{folder}/{entry.path}")
        return True

    def whole(self, held: Held) -> bool:
        """Say whether all blobs that a record relies on are there."""
        spots = [spot for spot in held.spots if spot.hash]
        if held.holder is not None:
            inside = self._blobs.content(held.holder)
            if inside is None:
                return False
            spots += _inside(inside)
        return not self._blobs.missing(spots)


def _inside(holder: bytes) -> list[Spot]:
    """Return the blobs that a holder names; none when it is nonsense."""
    try:
        nodes = wire.Tree.FromString(holder).root.files
        return [Spot(bytes.fromhex(it.digest.hash), it.digest.size_bytes) for it in nodes]
    except (wire.DecodeError, ValueError):
        return []
