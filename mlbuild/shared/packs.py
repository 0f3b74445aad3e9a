"""Packs: many small contents as one object.

Where a pack ends depends on the contents around that place alone, and it is named after what is in
it: of two trees that differ in one file, all packs but one are the same objects.
"""

from collections.abc import Iterator, Sequence

from blake3 import blake3

from mlbuild.core.digest import Digest

LEAST = 4 << 20  # bytes of a pack, but for the last
MOST = 12 << 20
_FURTHER = 4 << 20  # bytes that follow on average
_MANY = 20_000  # contents at most
_DOMAIN = b"mlbuild pack 1\n"


def packed(contents: Sequence[Digest]) -> Iterator[Sequence[Digest]]:
    """Cut a sequence of small contents into packs."""
    start = size = 0
    for at, content in enumerate(contents):
        if at > start and (size + content.size > MOST or at - start == _MANY):
            yield contents[start:at]
            start, size = at, 0
        size += content.size
        if size >= LEAST and _ends_after(content):
            yield contents[start : at + 1]
            start, size = at + 1, 0
    if start < len(contents):
        yield contents[start:]


def _ends_after(content: Digest) -> bool:
    """Say, from the content alone and in proportion to its size, whether a pack ends with it."""
    return int(content.hash[:8], 16) * _FURTHER < content.size << 32


def pack_id(contents: Sequence[Digest]) -> str:
    """Return the name of the pack that holds these contents."""
    listed = b"".join([bytes.fromhex(it.hash) + it.size.to_bytes(8, "little") for it in contents])
    return blake3(_DOMAIN + listed).hexdigest()


def opened(joined: bytes, contents: Sequence[Digest]) -> Iterator[tuple[Digest, bytes]]:
    """Yield contents that lie one after the other; their bytes have yet to be verified."""
    at = 0
    for content in contents:
        yield content, joined[at : at + content.size]
        at += content.size
