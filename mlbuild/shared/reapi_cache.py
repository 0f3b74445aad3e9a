"""ReapiCache: a shared cache in a server of the Remote Execution API, such as Bazel's caches.

Servers name bytes by their own hash function, mostly SHA-256, and we by BLAKE3: what we know a
tree, a key or a blob by is looked up in the server's action cache, under a hash of a domain, the
scope and that name. The record found there says where the bytes are in the content-addressable
storage, and names all of them as outputs, so that the server keeps them or forgets the record. All
bytes are held against our own digests when they arrive: a wrong record is no more than a miss.

The API has no way to write only what is not there: of two results published at the very same
moment the last one stays. A server that does not tell its users apart keeps no scope from anybody
who may write; signatures do.
"""

from collections.abc import Iterable, Sequence

from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Result
from mlbuild.core.tree import Tree
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.entry import (
    MANIFEST_LIMIT,
    Entry,
    Judge,
    Signer,
    accepted,
    decode_entry,
    encode_entry,
    is_of,
    signed,
)
from mlbuild.shared.reapi_access import Access, Address
from mlbuild.shared.reapi_blobs import Blobs, Report
from mlbuild.shared.reapi_channel import Channel
from mlbuild.shared.reapi_loose import Loose
from mlbuild.shared.reapi_records import Held, decode_listing
from mlbuild.shared.reapi_shelf import Kept, Shelf
from mlbuild.shared.reapi_source import Source
from mlbuild.shared.reapi_trees import Known, Trees

_KEY, _MANIFEST = "key", "manifest"


class ReapiCache:
    """One scope of a cache server, and what may be read of others (`open_reapi`)."""

    def __init__(
        self,
        address: Address,
        access: Access,
        *,
        scope: str,
        read_scopes: Sequence[str],
        signer: Signer | None,
        judge: Judge | None,
        report: Report,
        patience: float,
    ) -> None:
        channel = Channel(address, access, patience=patience)
        self.traffic = channel.traffic
        self._blobs = Blobs(channel, report=report)
        self._shelf = Shelf(channel, self._blobs)
        self._loose = Loose(
            self._blobs, self._shelf, scope=scope, scopes=read_scopes, report=report
        )
        self._trees = Trees(
            self._blobs, self._shelf, self._loose, scope=scope, scopes=read_scopes, report=report
        )
        self._scope = scope
        self._scopes = tuple(read_scopes)
        self._signers = () if signer is None else (signer,)
        self._judge = judge
        self._report = report

    # results by key

    def lookup(self, key: str) -> Result | None:
        """Return the Result of `key`: one request per scope; None when unknown or not accepted.

        Nor is one found whose bytes were gone or wrong in this session: it is to be made anew.
        """
        found = self._accepted(key)
        if found is None or self._trees.is_broken(found[0].result.tree):
            return None
        return found[0].result

    def _accepted(self, key: str) -> tuple[Entry, Kept] | None:
        """Return the first entry of `key` that counts."""
        for scope in self._scopes:
            kept = self._shelf.find(_KEY, key, scope=scope)
            if kept is None:
                continue
            try:
                entry = decode_entry(kept.content, key)
                if accepted(entry, key, judge=self._judge):
                    self._learn(entry, kept)
                    return entry, kept
            except SharedTrouble as trouble:
                if trouble.kind != "damaged":
                    raise
                self._report(f"{scope}/{_KEY}/{key}", kept.content, trouble.message)
        return None

    def _learn(self, entry: Entry, kept: Kept) -> None:
        """Remember the listing that travelled with an entry."""
        if entry.listing:
            listing = decode_listing(entry.listing, entry.result.tree)
            if not is_of(listing.tree, entry.result.outputs):
                raise SharedTrouble("damaged", "its outputs are not those of its tree")
            self._trees.learn(entry.result.tree, Known(listing, entry.listing, kept.held))

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        """Keep `result` unless `key` has an accepted and whole one; return the one that is kept.

        Of two that are published at the same moment the last one stays, as the API has no way to
        write only what is not there.
        """
        if not (result.hermetic and result.share):
            raise SharedTrouble("refused", "a result that is not hermetic is never shared")
        self._shelf.check()
        found = self._accepted(key)
        if found and self._is_whole(*found):
            return found[0].result
        sent = self._trees.known(result.tree)
        travels = key_of(manifest) == key and len(manifest) <= MANIFEST_LIMIT
        if manifest and not travels:  # it goes under its own hash, which may not be `key`
            name, digest = key_of(manifest), digest_of(manifest)
            self._loose.keep_as(_MANIFEST, name, Source(manifest), digest=digest)
        entry = Entry(result, sent.content if sent else b"", manifest if travels else b"")
        content = encode_entry(signed(entry, key, signers=self._signers))
        self._shelf.put(_KEY, key, content, scope=self._scope, held=self._held(result, sent))
        return result

    def _held(self, result: Result, sent: Known | None) -> Held:
        """Return what an entry relies on: its tree and its log."""
        held = sent.held if sent else Held()
        log = self._loose.known(result.log) if result.log else None
        return Held((*held.spots, log), held.holder) if log else held

    def _is_whole(self, entry: Entry, kept: Kept) -> bool:
        """Say whether the server has all that an entry relies on."""
        tree = entry.result.tree
        known = self._trees.known(tree)
        if known is not None and self._trees.is_sent(tree):
            return entry.listing == known.content  # another one may be why it was made anew
        if self._trees.is_broken(tree) or (not entry.listing and self._trees.find(tree) is None):
            return False
        return self._trees.whole(kept.held)

    def manifest(self, key: str) -> bytes | None:
        """Return the encoded Manifest of `key`; None when unknown or damaged."""
        found = self._accepted(key)
        if found and found[0].manifest:
            return found[0].manifest
        spot = self._loose.record(_MANIFEST, key)
        content = self._blobs.content(spot) if spot else None
        if content is not None and key_of(content) != key:
            self._report(f"{_MANIFEST}/{key}", content, "is the manifest of another key")
            return None
        return content

    # trees

    def send_tree(self, tree: Tree, folder: str) -> None:
        """Keep the files of `tree`, which lie in `folder`: one question, then what is missing.

        A small tree travels with the entry that is published next. Raises InputError for a file
        that is not what `tree` says.
        """
        self._trees.send(tree, folder)

    def bring_tree(self, digest: Digest, folder: str) -> Tree | None:
        """Write the tree `digest` into the empty `folder`; None when bytes are gone or damaged."""
        return self._trees.bring(digest, folder)

    # blobs by digest

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of `digests` whose bytes are not here."""
        return self._loose.missing(digests)

    def put(self, content: bytes) -> Digest:
        """Keep `content`; return its address."""
        digest = digest_of(content)
        self._loose.keep(Source(content), digest)
        return digest

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep the file at `path`; raise InputError when it is not `digest`."""
        self._loose.keep(Source(path=path), digest)

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes; None when they are absent or damaged."""
        return self._loose.read(digest)

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; False when absent or damaged."""
        return self._loose.fetch(digest, to)

    def close(self) -> None:
        """Give up all calls and give back connections."""
        self._blobs.close()
