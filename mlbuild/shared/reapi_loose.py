"""Loose: single blobs of a cache server, by our digests.

Where the server names blobs by another hash function than ours, a record says which one it is;
small contents travel inside that record.
"""

import os
from collections.abc import Iterable, Sequence
from functools import partial

from mlbuild.core.digest import Digest, digest_of
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_blobs import Blobs, Report, Wanted
from mlbuild.shared.reapi_records import (
    INLINE,
    Held,
    Listing,
    Spot,
    packed,
    spot_of,
    unpacked,
)
from mlbuild.shared.reapi_shelf import Shelf
from mlbuild.shared.reapi_source import Source
from mlbuild.shared.recent import Recent

VOID = Spot(b"", 0)  # where an empty file is
_BLOB = "blob"
_ROOM = 64 << 20  # bytes of what is known that stay in memory
_SPOT = 256  # bytes that remembering where a blob is takes


class Loose:
    """Blobs of one scope, and those of other scopes that may be read."""

    def __init__(
        self, blobs: Blobs, shelf: Shelf, *, scope: str, scopes: Sequence[str], report: Report
    ) -> None:
        self._blobs = blobs
        self._shelf = shelf
        self._scope = scope
        self._scopes = scopes
        self._report = report
        self._spots: Recent[Digest, Spot] = Recent(_ROOM)

    def learn(self, listing: Listing) -> None:
        """Remember where the files of a tree are."""
        for digest, spot in listing.spots.items():
            self._remember(digest, spot)

    def _remember(self, digest: Digest, spot: Spot) -> None:
        self._spots.keep(digest, spot, weight=_SPOT + len(spot.inline))

    def forget(self, listing: Listing) -> None:
        """Forget where the files of a tree were."""
        for digest in listing.spots:
            self._spots.drop(digest)

    def known(self, digest: Digest) -> Spot | None:
        """Return where a blob is as far as this process has seen."""
        return self._spots.find(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of `digests` whose bytes are not here."""
        wanted = list(set(digests))
        spots = self._blobs.all([partial(self._spot, digest) for digest in wanted])
        gone = self._blobs.missing(spot for spot in spots if spot is not None)
        found = zip(wanted, spots, strict=True)
        return {digest for digest, spot in found if spot is None or spot.hash in gone}

    def _spot(self, digest: Digest) -> Spot | None:
        """Return where a blob is or would be; None when nobody has said."""
        if not digest.size:
            return VOID
        known = self._spots.find(digest)
        if known is not None:
            return known
        if self._blobs.function:
            return Spot(bytes.fromhex(digest.hash), digest.size)
        found = self.record(_BLOB, digest.hash)
        if found is None or found.size != digest.size:
            return None
        self._remember(digest, found)
        return found

    def record(self, kind: str, name: str) -> Spot | None:
        """Return where the blob of a record is."""
        for scope in self._scopes:
            kept = self._shelf.find(kind, name, scope=scope)
            if kept is None:
                continue
            try:
                return spot_of(unpacked(kept.content, wire.Spot))
            except SharedTrouble as trouble:
                self._report(f"{scope}/{kind}/{name}", kept.content, trouble.message)
        return None

    def keep(self, source: Source, digest: Digest) -> None:
        """Keep a blob; raise InputError when `source` has other bytes."""
        if not digest.size:
            source.checked(digest)
        elif self._blobs.function:
            self._blobs.send([(self._blobs.spot(source, digest), source)])
        else:
            self._remember(digest, self.keep_as(_BLOB, digest.hash, source, digest=digest))

    def keep_as(self, kind: str, name: str, source: Source, *, digest: Digest) -> Spot:
        """Keep a blob and the record of this kind and name that says where it is."""
        self._shelf.check()
        if digest.size <= INLINE:
            spot = Spot(b"", digest.size, inline=source.checked(digest))
        else:
            spot = self._blobs.spot(source, digest)
            self._blobs.send([(spot, source)])
        self._shelf.put(kind, name, packed(spot.message()), scope=self._scope, held=Held((spot,)))
        return spot

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes; None when they are absent or wrong."""
        spot = self._spot(digest)
        content = self._blobs.content(spot) if spot else None
        if spot is None or content is None:
            self._spots.drop(digest)
            return None
        if digest_of(content) != digest:
            self._report(spot.name or digest.hash, content, f"is not {digest}")
            self._spots.drop(digest)
            return None
        return content

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; False when absent or wrong."""
        spot = self._spot(digest)
        whole = False
        try:
            if spot is not None:
                whole = self._blobs.bring([Wanted(digest, spot, ((to, 0o644),))])
        finally:
            if not whole and spot is not None and os.path.lexists(to):
                os.unlink(to)
        if not whole:
            self._spots.drop(digest)
        return whole
