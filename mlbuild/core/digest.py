"""Digest: the address of some bytes."""

from dataclasses import dataclass

from blake3 import blake3


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The address of some bytes: their BLAKE3 hash and their number."""

    hash: str  # 64 lowercase hex digits
    size: int  # bytes

    def __str__(self) -> str:
        return f"blake3:{self.hash}"


def digest_of(content: bytes) -> Digest:
    """Return the Digest of `content`."""
    return Digest(blake3(content).hexdigest(), len(content))
