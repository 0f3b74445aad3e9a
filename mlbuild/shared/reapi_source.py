"""Source: bytes on their way to a cache server, in memory or in a file."""

from collections.abc import Iterator

import zstandard

from mlbuild.core.digest import Digest, digest_of
from mlbuild.errors import InputError

PIECE = 1 << 20  # bytes of one message
_SAMPLE = 64 << 10  # bytes
_WORTH = 0.95  # of a sample must be enough for compression to pay


class Source:
    """Bytes to send: those given, or those of the file at `path`."""

    def __init__(self, content: bytes = b"", *, path: str = "") -> None:
        self._content = content
        self._path = path

    def read(self) -> bytes:
        """Return all bytes."""
        return b"".join(self.pieces(0)) if self._path else self._content

    def checked(self, digest: Digest) -> bytes:
        """Return all bytes; raise InputError when they are not those of `digest`."""
        content = self.read()
        if digest_of(content) != digest:
            raise self.changed()
        return content

    def changed(self) -> InputError:
        """Return what to say about bytes that are not those that they were."""
        what = f"`{self._path}`" if self._path else "what was to be sent"
        return InputError(f"{what} has changed since it was hashed")

    def pieces(self, at: int) -> Iterator[bytes]:
        """Yield the bytes from `at` on."""
        if not self._path:
            for start in range(at, len(self._content), PIECE):
                yield self._content[start : start + PIECE]
            return
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(at)
                while piece := file.read(PIECE):
                    yield piece
        except OSError as error:
            raise InputError(f"`{self._path}` cannot be read: {error.strerror}") from error

    def is_dense(self, size: int) -> bool:
        """Say whether the `size` bytes do not become smaller by compression, by a sample."""
        at = max(0, size // 2 - _SAMPLE // 2)
        sample = next(self.pieces(at), b"")[:_SAMPLE]
        return len(zstandard.ZstdCompressor(level=1).compress(sample)) > _WORTH * len(sample)
