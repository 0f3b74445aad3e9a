"""Shelf: a server's action cache, where our records lie under hashes of what they are about."""

from dataclasses import dataclass
from typing import Any

from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_blobs import Blobs
from mlbuild.shared.reapi_channel import Channel
from mlbuild.shared.reapi_records import LIMIT, Held, Spot, action_result, held_by
from mlbuild.shared.reapi_source import Source
from mlbuild.shared.reapi_trouble import readonly

_DOMAIN = b"mlbuild shared cache 1\n"
_LARGE = 1 << 20  # bytes of a record from which it is a blob of its own


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as the server has it."""

    content: bytes
    held: Held


class Shelf:
    """Records by what they are about (`kind`), a name and a scope."""

    def __init__(self, channel: Channel, blobs: Blobs) -> None:
        self._channel = channel
        self._blobs = blobs

    def find(self, kind: str, name: str, *, scope: str) -> Kept | None:
        """Return a record; None when there is none, or when the server lost what it needs."""
        request = wire.GET_RESULT.request(
            instance_name=self._channel.address.instance,
            action_digest=self._digest(kind, name, scope),
            inline_stdout=True,
            digest_function=self._blobs.function,
        )
        result = self._channel.call(wire.GET_RESULT, request)
        if result is None:
            return None
        content: bytes | None = result.stdout_raw
        if not content and result.HasField("stdout_digest"):
            content = self._blob(result.stdout_digest)
        return Kept(content, held_by(result)) if content else None

    def _blob(self, digest: Any) -> bytes | None:
        """Return a record that the server keeps apart."""
        try:
            spot = Spot(bytes.fromhex(digest.hash), digest.size_bytes)
        except ValueError:
            return None
        return self._blobs.content(spot) if 0 < spot.size <= LIMIT else None

    def put(self, kind: str, name: str, content: bytes, *, scope: str, held: Held) -> None:
        """Keep a record in the place of the one that is there; its blobs must be there before."""
        self.check()
        result = action_result(content, held)
        if len(content) > _LARGE:
            spot = Spot(self._blobs.hash(content), len(content), dense=True)
            self._blobs.send([(spot, Source(content))])
            result.ClearField("stdout_raw")
            result.stdout_digest.CopyFrom(spot.digest())
        request = wire.UPDATE_RESULT.request(
            instance_name=self._channel.address.instance,
            action_digest=self._digest(kind, name, scope),
            action_result=result,
            digest_function=self._blobs.function,
        )
        if self._channel.call(wire.UPDATE_RESULT, request) is None:
            raise SharedTrouble(
                "refused",
                f"the cache server `{self._channel.address.target}` did not find all outputs of "
                "a result that it was to keep",
            )

    def check(self) -> None:
        """Raise SharedTrouble when the server takes no records."""
        if not self._blobs.offers.updates:
            raise readonly(self._channel.address.target)

    def _digest(self, kind: str, name: str, scope: str) -> Any:
        about = b"%b%b\n%b\n%b\n" % (_DOMAIN, kind.encode(), scope.encode(), name.encode())
        return wire.Digest(hash=self._blobs.hash(about).hex(), size_bytes=len(about))
