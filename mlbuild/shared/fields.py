"""Fields: numbers and texts of bounded length in bytes from outside, read one after the other."""

import struct
from typing import Self

from mlbuild.core.digest import digest_of
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.squeeze import squeeze, unsqueeze

_U32 = struct.Struct("<I")
_HASH = 64  # hexadecimal digits
_PLAIN, _SQUEEZED = b"\0", b"\1"


class Fields:
    """A reader of what `field`, `number` and so on wrote. Whatever is wrong is SharedTrouble."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @classmethod
    def sealed(cls, content: bytes, *, magic: bytes) -> Self:
        """Read what `sealed` wrote."""
        start = len(magic) + _HASH + 1
        body = content[start:]
        if content[:start] != b"%b%b\n" % (magic, digest_of(body).hash.encode()):
            raise SharedTrouble("damaged", "its checksum is wrong, or it is of another version")
        return cls(body)

    @classmethod
    def wrapped(cls, content: bytes, *, magic: bytes, limit: int) -> Self:
        """Read what `wrapped` wrote, of at most `limit` bytes."""
        head = cls.sealed(content, magic=magic)
        size = head.number(limit=limit)
        flag, body = head.take(1), head.take(head.left())
        if flag == _SQUEEZED:
            return cls(unsqueeze(body, size=size))
        if flag != _PLAIN or len(body) != size:
            raise SharedTrouble("damaged", "it has more or fewer bytes than it says")
        return cls(body)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self._at + size
        if end > len(self._content):
            raise SharedTrouble("damaged", "it ends in the middle")
        part = self._content[self._at : end]
        self._at = end
        return part

    def number(self, *, limit: int) -> int:
        """Return the next number, at most `limit`."""
        (value,) = _U32.unpack(self.take(_U32.size))
        if value > limit:
            raise SharedTrouble("damaged", f"it declares {value} where {limit} is the most")
        return int(value)

    def field(self, *, limit: int) -> bytes:
        """Return the next bytes that have their length before them."""
        return self.take(self.number(limit=limit))

    def left(self) -> int:
        """Return the number of bytes that are not read yet."""
        return len(self._content) - self._at

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.left():
            raise SharedTrouble("damaged", "it has more bytes than it says")


def number(value: int) -> bytes:
    """Return the bytes of a number below 2**32."""
    return _U32.pack(value)


def field(content: bytes) -> bytes:
    """Return `content` with its length before it."""
    return _U32.pack(len(content)) + content


def sealed(body: bytes, *, magic: bytes) -> bytes:
    """Return `body` below a line with `magic` and its checksum."""
    return b"%b%b\n%b" % (magic, digest_of(body).hash.encode(), body)


def wrapped(body: bytes, *, magic: bytes) -> bytes:
    """Return `body` sealed, and squeezed where that pays."""
    frame = squeeze(body)
    rest = _PLAIN + body if frame is None else _SQUEEZED + frame
    return sealed(number(len(body)) + rest, magic=magic)
