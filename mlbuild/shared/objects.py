"""Objects: a bucket as its cache uses it: counted, remembered, and squeezed where that pays."""

from collections.abc import Callable, Iterable
from threading import Lock

from mlbuild.shared.base import Bucket, SharedTrouble, Traffic
from mlbuild.shared.known import Known
from mlbuild.shared.layout import MAIN, place_of
from mlbuild.shared.listing import Piece
from mlbuild.shared.squeeze import squeeze, unsqueeze

Report = Callable[[str, bytes, str], None]  # the name of an object, its bytes, what is wrong


class LostError(Exception):
    """Bytes that a listing or an entry speaks of are gone or wrong. Never leaves the cache."""


class Objects:
    """The objects of one scope of a bucket, and those of `main` that may be referred to."""

    def __init__(self, bucket: Bucket, *, scope: str, known: Known, report: Report) -> None:
        self.scope = scope
        self.traffic = Traffic()
        self.known = known
        self.report = report
        self._bucket = bucket
        self._counting = Lock()

    def read(self, name: str, *, limit: int, size: int = -1) -> bytes | None:
        """Return an object of at most `limit` bytes, or its first `size`; None when it is gone.

        One that is longer is reported, and raises LostError.
        """
        try:
            content = self._bucket.read(name, size=size, limit=limit)
        except SharedTrouble as trouble:
            if trouble.kind != "damaged":
                raise
            self.report(name, b"", trouble.message)
            raise LostError from trouble
        self._count(down=len(content or b""))
        return content

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep an object; with `fresh`, only where nothing is. Say whether it was written."""
        written = self._bucket.write(name, content, fresh=fresh)
        self._count(up=len(content))
        return written

    def _count(self, *, down: int = 0, up: int = 0) -> None:
        with self._counting:
            self.traffic.down += down
            self.traffic.up += up
            self.traffic.requests += 1

    def known_piece(self, kind: str, name: str, *, size: int) -> Piece | None:
        """Return the pack or chunk `name` if it is known to be there, here or in `main`."""
        for in_main in {False, self.scope != MAIN}:
            for squeezed in (False, True):
                piece = Piece(name, size, size, squeezed, in_main)
                stored = self.known.size(place_of(piece, kind, scope=self.scope))
                if stored is not None and (stored < size if squeezed else stored == size):
                    return Piece(name, size, stored, squeezed, in_main)
        return None

    def keep_piece(self, kind: str, name: str, content: bytes) -> Piece:
        """Keep a pack or chunk.

        It is written even if it is there: that costs no more than asking, renews its age for who
        sweeps the bucket, and heals it.
        """
        frame = squeeze(content)
        stored = content if frame is None else frame
        piece = Piece(name, len(content), len(stored), squeezed=frame is not None)
        where = place_of(piece, kind, scope=self.scope)
        self.write(where, stored)
        self.known.add({where: len(stored)})
        return piece

    def take_piece(self, kind: str, piece: Piece, *, scope: str) -> bytes:
        """Return what is in a piece that a listing in `scope` names; only its size is verified."""
        name = place_of(piece, kind, scope=scope)
        stored = self.read(name, limit=piece.stored)
        if stored is None:
            raise LostError
        if len(stored) != piece.stored:
            self.report(name, stored, f"it has {len(stored)} bytes, not {piece.stored}")
            raise LostError
        if not piece.squeezed:
            return stored
        try:
            return unsqueeze(stored, size=piece.size)
        except SharedTrouble as trouble:
            self.report(name, stored, trouble.message)
            raise LostError from trouble

    def blame(self, kind: str, piece: Piece, content: bytes, *, scope: str) -> None:
        """Report a piece in which something is wrong."""
        self.report(place_of(piece, kind, scope=scope), content, "its bytes are not what they were")

    def note(self, pieces: Iterable[tuple[str, Piece]], *, scope: str) -> None:
        """Remember that the pieces of a listing in `scope` are there."""
        self.known.add({place_of(it, kind, scope=scope): it.stored for kind, it in pieces})
