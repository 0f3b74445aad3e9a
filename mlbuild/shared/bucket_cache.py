"""BucketCache: a shared cache in a bucket (docs/format.md, "The shared cache")."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from mlbuild.core.digest import Digest
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Tree, digest_tree
from mlbuild.shared import entry as entries
from mlbuild.shared.base import Bucket, SharedTrouble
from mlbuild.shared.blobs import Blobs
from mlbuild.shared.bringing import Source, bring
from mlbuild.shared.entry import Entry, Judge, Signer
from mlbuild.shared.known import Known
from mlbuild.shared.lanes import Lanes
from mlbuild.shared.layout import ENTRIES, LISTINGS, MAIN, MANIFESTS, checked_scope, place
from mlbuild.shared.listing import LIMIT, Listing, decode_listing, encode_listing
from mlbuild.shared.objects import LostError, Objects, Report
from mlbuild.shared.recent import Recent
from mlbuild.shared.sending import send
from mlbuild.store import files

Outputs = tuple[tuple[str, Content], ...]

RECENT = 16 << 20  # bytes of listings that are kept at hand


@dataclass(frozen=True, slots=True)
class _Origin:
    """An entry that names a tree."""

    scope: str
    key: str
    listed: bool  # whether the listing of the tree travels with it


class BucketCache:
    """The objects of one `scope` of a bucket, and what may be read of others.

    `read_scopes` are looked through in this order; without any: the own scope, then `main`.
    `memo` is a folder of this machine for this bucket alone, "" for none. `report` hears of every
    object whose bytes are wrong: its name, the bytes, and what is wrong with them.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        scope: str = MAIN,
        read_scopes: Sequence[str] = (),
        memo: str = "",
        signer: Signer | None = None,
        judge: Judge | None = None,
        report: Report = lambda *_: None,
    ) -> None:
        self._bucket = bucket
        self._scope = checked_scope(scope)
        wanted = read_scopes or (scope, MAIN)
        self._scopes = tuple(dict.fromkeys(checked_scope(one) for one in wanted))
        self._signers = [signer] if signer is not None else []
        self._judge = judge
        self._known = Known(memo)
        self._objects = Objects(bucket, scope=scope, known=self._known, report=report)
        self.traffic = self._objects.traffic
        self._lanes = Lanes()
        self._blobs = Blobs(self._objects, self._lanes, scopes=self._scopes)
        self._door = Lock()
        self._origins: dict[str, _Origin] = {}  # by the hash of a tree
        self._claims: dict[str, set[Outputs]] = {}  # what results say of it
        # Listings of trees that were looked up, and that were sent: b"" for one that is an object.
        self._recent: Recent[str, bytes] = Recent(RECENT)
        self._sent: Recent[str, bytes] = Recent(RECENT)
        self._absent: set[str] = set()  # keys that are free in the own scope
        self._unfit: set[str] = set()  # keys whose entry in the own scope is to be replaced
        self._lost: set[str] = set()  # hashes of trees whose bytes are gone or wrong

    # results by key

    def lookup(self, key: str) -> Result | None:
        """Return the Result of `key`, with one request per scope.

        None when it is unknown, damaged, not accepted, or its bytes were found to be gone.
        """
        for scope in self._scopes:
            found = self._entry(scope, key)
            if found is None:
                continue
            tree = found.result.tree.hash
            with self._door:
                if tree in self._lost:
                    self._unfit.add(key)
                    continue
                if scope != self._scope:
                    self._absent.discard(key)  # nobody needs it twice
                self._learn(scope, key, found.result, found.listing)
            return found.result
        return None

    def _learn(self, scope: str, key: str, result: Result, listing: bytes) -> None:
        """Remember where to find the tree of a result, and what it must hold."""
        tree = result.tree.hash
        self._origins[tree] = _Origin(scope, key, listed=bool(listing))
        self._claims.setdefault(tree, set()).add(result.outputs)
        if listing:
            self._recent.keep(tree, listing, weight=len(listing))

    def _entry(self, scope: str, key: str) -> Entry | None:
        """Return an entry that counts; note what became of it if it is ours to replace."""
        name = place(scope, ENTRIES, key)
        own = scope == self._scope
        try:
            content = self._objects.read(name, limit=entries.LIMIT)
            if content is None:
                if own:
                    self._absent.add(key)
                return None
            found = self._decoded(name, content, key)
        except LostError:
            found = None
        if found is not None and entries.accepted(found, key, judge=self._judge):
            return found
        if own:
            self._unfit.add(key)
        return None

    def _decoded(self, name: str, content: bytes, key: str) -> Entry | None:
        try:
            return entries.decode_entry(content, key)
        except SharedTrouble as trouble:
            self._objects.report(name, content, trouble.message)
            return None

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        """Keep `result` unless `key` has one already that counts; return the one that is kept.

        The bytes of the result must have been sent before.
        """
        if not (result.hermetic and result.share):
            raise SharedTrouble("refused", "a result that is not hermetic is never shared")
        kept = self._published(key) if key not in self._absent else None
        if kept is not None:
            return kept
        travels = key_of(manifest) == key and len(manifest) <= entries.MANIFEST_LIMIT
        if not travels:
            self._keep_manifest(manifest)
        tree = result.tree.hash
        listing = self._sent.find(tree) or b""
        it = Entry(result, listing, manifest if travels else b"")
        content = entries.encode_entry(entries.signed(it, key, signers=self._signers))
        name = place(self._scope, ENTRIES, key)
        if not self._objects.write(name, content, fresh=key not in self._unfit):
            kept = self._published(key)  # somebody was faster
            if kept is not None:
                return kept
            self._objects.write(name, content)
        self._note_published(key, result)
        return result

    def _published(self, key: str) -> Result | None:
        """Return the result that is kept under `key`, unless it is to be replaced."""
        found = self.lookup(key)
        if found is not None and self._known.is_broken(found.tree.hash):
            self._unfit.add(key)
            return None
        return found

    def _note_published(self, key: str, result: Result) -> None:
        tree = result.tree.hash
        self._known.mend(tree)
        with self._door:
            self._lost.discard(tree)
            self._absent.discard(key)
            self._unfit.discard(key)
            self._learn(self._scope, key, result, self._sent.find(tree) or b"")

    def _keep_manifest(self, manifest: bytes) -> None:
        name = place(self._scope, MANIFESTS, key_of(manifest))
        if self._known.size(name) != len(manifest):
            self._objects.write(name, manifest)
            self._known.add({name: len(manifest)})

    def manifest(self, key: str) -> bytes | None:
        """Return the encoded Manifest of `key`; None when unknown or damaged."""
        for scope in self._scopes:
            found = self._entry(scope, key)
            if found is not None and found.manifest:
                return found.manifest
            try:
                content = self._objects.read(place(scope, MANIFESTS, key), limit=LIMIT)
            except LostError:
                continue
            if content is not None and key_of(content) == key:
                return content
            if content is not None:
                self._objects.report(place(scope, MANIFESTS, key), content, "it is of another key")
        return None

    # trees

    def send_tree(self, tree: Tree, folder: str) -> None:
        """Keep the files of `tree`, which lie in the absolute `folder`, and its listing.

        A listing that is short travels with the entry that is published next. Raises InputError
        for a file that is not what `tree` says.
        """
        digest = digest_tree(tree)
        broken = self._known.is_broken(digest.hash)
        if self._sent.find(digest.hash) is not None and not broken:
            return
        content = encode_listing(send(tree, folder, objects=self._objects, lanes=self._lanes))
        if len(content) > entries.LISTING_LIMIT:
            self._objects.write(place(self._scope, LISTINGS, digest.hash), content)
            content = b""
        self._sent.keep(digest.hash, content, weight=len(content))

    def bring_tree(self, digest: Digest, folder: str) -> Tree | None:
        """Write the tree `digest` into the empty `folder`; return its listing.

        `lookup` must have found it in this session, or its listing be too long for an entry. Files
        are 0644 or 0755. None when bytes are gone or wrong: `folder` then holds anything, and the
        next result that has this tree replaces what is there.
        """
        tried = False
        for scope, content in self._listings(digest):
            if tried:
                _empty(folder)
            tried = True
            listing = self._listed(scope, content, digest)
            if listing is not None and self._bring(listing, folder, scope):
                with self._door:
                    self._lost.discard(digest.hash)
                return listing.tree
        with self._door:
            named = self._origins.pop(digest.hash, None) is not None
            self._claims.pop(digest.hash, None)
            self._recent.drop(digest.hash)
            self._sent.drop(digest.hash)
            if tried or named:
                self._lost.add(digest.hash)
        if tried or named:
            self._known.forget(broken=digest.hash)
        return None

    def _listings(self, digest: Digest) -> Iterator[tuple[str, bytes]]:
        """Yield the listings of a tree that can be found, each with its scope."""
        with self._door:
            origin, content = self._origins.get(digest.hash), self._recent.find(digest.hash)
        scopes = list(self._scopes)
        if origin is not None:
            if content is None and origin.listed:  # it has had to go
                found = self._entry(origin.scope, origin.key)
                content = found.listing if found else None
            if content:
                yield origin.scope, content
            scopes.sort(key=lambda scope: scope != origin.scope)
        for scope in scopes:
            try:
                content = self._objects.read(place(scope, LISTINGS, digest.hash), limit=LIMIT)
            except LostError:
                continue
            if content is not None:
                yield scope, content

    def _listed(self, scope: str, content: bytes, digest: Digest) -> Listing | None:
        """Read a listing, and compare its tree with what results say of it."""
        name = place(scope, LISTINGS, digest.hash)
        try:
            listing = decode_listing(content, digest)
        except SharedTrouble as trouble:
            self._objects.report(name, content, trouble.message)
            return None
        with self._door:
            origin, claims = self._origins.get(digest.hash), self._claims.get(digest.hash, set())
            claims = set(claims)
        if origin is None or all(entries.is_of(listing.tree, outputs) for outputs in claims):
            return listing
        name = place(origin.scope, ENTRIES, origin.key)
        self._objects.report(name, b"", "outputs of a result are not those of its tree")
        return None

    def _bring(self, listing: Listing, folder: str, scope: str) -> bool:
        """Write a tree; say whether all bytes were there."""
        try:
            bring(listing, folder, Source(self._objects, self._lanes, scope))
        except LostError:
            return False
        self._objects.note(listing.pieces(), scope=scope)
        return True

    # bytes by digest

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of `digests` whose bytes are not here."""
        return self._blobs.missing(digests)

    def put(self, content: bytes) -> Digest:
        """Keep `content`; return its address."""
        return self._blobs.put(content)

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes; None when they are absent or damaged."""
        return self._blobs.read(digest)

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep the file at `path`; raise InputError when it is not `digest` any more."""
        self._blobs.put_file(path, digest)

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; False when absent or damaged."""
        return self._blobs.fetch(digest, to)

    def close(self) -> None:
        """Give back threads and connections."""
        self._lanes.close()
        self._bucket.close()


def _empty(folder: str) -> None:
    """Remove what an attempt left in a folder."""
    for name in os.listdir(folder):
        files.remove(f"{folder}/{name}")
