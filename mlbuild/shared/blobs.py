"""Blobs: single contents in a bucket, such as logs (docs/format.md).

The first byte of an object says what follows: `r` the bytes themselves, `z` a zstd frame of them,
`c` the chunks of a large content.
"""

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import partial

from mlbuild.core.digest import Digest, digest_of
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.bringing import Source, bring_content
from mlbuild.shared.chunks import Read
from mlbuild.shared.fields import Fields
from mlbuild.shared.lanes import Errand, Lanes
from mlbuild.shared.layout import BLOBS, CHUNKS, place
from mlbuild.shared.listing import LARGE, LEAST, Piece, decode_pieces, encode_pieces
from mlbuild.shared.objects import LostError, Objects
from mlbuild.shared.sending import content_of, opened_file, send_content
from mlbuild.shared.squeeze import squeeze, unsqueeze
from mlbuild.store import files

_PIECE_SIZE = len(encode_pieces([Piece("0" * 64, 1, 1)]))  # bytes, and more than one piece takes


class Blobs:
    """The single contents of one scope, and those in the `scopes` that may be read."""

    def __init__(self, objects: Objects, lanes: Lanes, *, scopes: tuple[str, ...]) -> None:
        self._objects = objects
        self._lanes = lanes
        self._scopes = scopes

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those that are not there. What is not known costs a request of one byte."""
        wanted = list(dict.fromkeys(digests))
        errands = (Errand(partial(self._has, digest), cost=0) for digest in wanted)
        here = self._lanes.all(errands)
        return {digest for digest, has in zip(wanted, here, strict=True) if not has}

    def _has(self, digest: Digest) -> bool:
        names = [place(scope, BLOBS, digest.hash) for scope in self._scopes]
        if any(self._objects.known.size(name) == digest.size for name in names):
            return True
        return any(self._objects.read(name, size=1, limit=1) for name in names)

    def put(self, content: bytes) -> Digest:
        """Keep `content`."""
        digest = digest_of(content)

        def read(at: int, size: int) -> bytes:
            return content[at : at + size]

        if not self._is_known(digest):
            self._keep(digest, content if digest.size < LARGE else read, shown="bytes")
        return digest

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep the file at `path`; raise InputError unless it is `digest`."""
        if self._is_known(digest):
            return
        if digest.size < LARGE:
            self._keep(digest, content_of(path, digest), shown=path)
            return
        with opened_file(path) as read:
            self._keep(digest, read, shown=path)

    def _is_known(self, digest: Digest) -> bool:
        name = place(self._objects.scope, BLOBS, digest.hash)
        return self._objects.known.size(name) == digest.size

    def _keep(self, digest: Digest, content: bytes | Read, *, shown: str) -> None:
        """Write the object of a blob: of a small one its bytes, of a large one its chunks."""
        if isinstance(content, bytes):
            frame = squeeze(content)
            stored = b"r" + content if frame is None else b"z" + frame
        else:
            pieces = send_content(content, digest, shown, objects=self._objects, lanes=self._lanes)
            stored = b"c" + encode_pieces(pieces)
        name = place(self._objects.scope, BLOBS, digest.hash)
        self._objects.write(name, stored)
        self._objects.known.add({name: digest.size})

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes; None when they are absent or damaged."""
        for scope in self._scopes:
            with suppress(LostError):
                content = self._found(digest, scope)
                if isinstance(content, bytes):
                    return content
                if content is not None:
                    return self._joined(digest, content, scope)
        return None

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; False when they are absent or damaged."""
        for scope in self._scopes:
            with suppress(LostError):
                content = self._found(digest, scope)
                if content is None:
                    continue
                if isinstance(content, bytes):
                    files.write_new(to, content, mode=0o644)
                else:
                    self._bring(digest, content, to, scope=scope)
                return True
        return False

    def _bring(self, digest: Digest, pieces: tuple[Piece, ...], to: str, *, scope: str) -> None:
        try:
            bring_content(pieces, digest, to, Source(self._objects, self._lanes, scope))
        except BaseException:
            with suppress(OSError):
                os.unlink(to)
            raise

    def _joined(self, digest: Digest, pieces: tuple[Piece, ...], scope: str) -> bytes:
        source = Source(self._objects, self._lanes, scope)
        errands = (source.errand(CHUNKS, piece) for piece in pieces)
        with closing(self._lanes.in_order(errands)) as parts:
            content = b"".join(parts)
        if digest_of(content) != digest:
            name = place(scope, BLOBS, digest.hash)
            self._objects.report(name, b"", "its chunks are not what it was")
            raise LostError
        return content

    def _found(self, digest: Digest, scope: str) -> bytes | tuple[Piece, ...] | None:
        """Return a small blob, or the chunks of a large one; raise LostError when it is wrong."""
        name = place(scope, BLOBS, digest.hash)
        limit = _PIECE_SIZE * (digest.size // LEAST + 2) if digest.size >= LARGE else LARGE + 1
        stored = self._objects.read(name, limit=limit)
        if stored is None:
            return None
        try:
            if digest.size >= LARGE and stored[:1] == b"c":
                fields = Fields(stored[1:])
                pieces = decode_pieces(fields, digest)
                fields.end()
                return pieces
            content = unsqueeze(stored[1:], size=digest.size) if stored[:1] == b"z" else stored[1:]
        except SharedTrouble as trouble:
            self._objects.report(name, stored, trouble.message)
            raise LostError from trouble
        if digest.size >= LARGE or digest_of(content) != digest:
            self._objects.report(name, stored, "its bytes are not what they were")
            raise LostError
        return content
