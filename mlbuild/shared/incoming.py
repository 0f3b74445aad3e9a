"""Incoming: the body of an answer, read no further than it may go and no slower than it must."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mlbuild.shared.base import SharedTrouble

PIECE = 1 << 20  # bytes that one read asks for at most
PATIENCE = 30.0  # seconds after which a body must have come at …
SLOWEST = 1024  # … so many bytes per second: who drips a byte now and then is never idle


@dataclass(frozen=True, slots=True)
class Incoming:
    """A body as it arrives. `read(n)` returns up to n bytes, what there is by now; b"" ends it."""

    what: str  # how messages name it
    read: Callable[[int], bytes]
    length: int = -1  # what the server says; -1: nothing

    def content(
        self,
        *,
        skip: int = 0,
        size: int = -1,
        limit: int = -1,
        clock: Callable[[], float] = time.monotonic,
    ) -> bytes:
        """Return `size` bytes (-1: all) after the first `skip`, fewer where it ends before.

        Raises SharedTrouble: "damaged" for more than `limit` bytes, "unreachable" for a body that
        is shorter than announced, "slow" for one that takes forever.
        """
        wanted = skip + size if size >= 0 else -1
        coming = self.length if wanted < 0 else min(self.length, wanted)
        if 0 <= limit < coming - skip:
            raise self._too_long(limit)
        started, at = clock(), 0
        pieces: list[bytes] = []
        while wanted < 0 or at < wanted:
            piece = self.read(PIECE if wanted < 0 else min(PIECE, wanted - at))
            if not piece:
                break
            pieces.append(piece[max(0, skip - at) :])
            at += len(piece)
            if 0 <= limit < at - skip:
                raise self._too_long(limit)
            passed = clock() - started
            if passed > PATIENCE and at < passed * SLOWEST:
                raise SharedTrouble("slow", f"{self.what} comes at {at / passed:.0f} bytes/s")
        if at < coming:
            raise SharedTrouble("unreachable", f"{self.what} ended after {at} of {coming} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_long(self, limit: int) -> SharedTrouble:
        return SharedTrouble("damaged", f"{self.what} is longer than {limit} bytes")
