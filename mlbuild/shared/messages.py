"""Messages: what a build orders of its courier, what is answered, and both as bytes."""

import marshal
from dataclasses import dataclass, fields
from typing import Any

from mlbuild.core.result import Result, decode, encode
from mlbuild.sharing import Sharing


@dataclass(frozen=True, slots=True)
class Opening:
    """The first order: which store and which shared cache."""

    root: str  # of the local store
    sharing: Sharing


@dataclass(frozen=True, slots=True)
class Lookup:
    """Is there a result for `key`? Answered by Found."""

    key: str


@dataclass(frozen=True, slots=True)
class Bring:
    """Put the bytes of a result into the local store, then the result. Answered by Brought."""

    key: str
    manifest: bytes
    result: Result


@dataclass(frozen=True, slots=True)
class Push:
    """Upload the result that the local store has for `key`. Answered by Pushed."""

    key: str


@dataclass(frozen=True, slots=True)
class Settle:
    """The build ends: "wait" for uploads, go on in the "background", or leave them ("off").

    Answered by Totals; with "wait" by several, of which the last has nothing left.
    """

    upload: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the shared cache has for a key: None where it has nothing that counts."""

    key: str
    result: Result | None


@dataclass(frozen=True, slots=True)
class Brought:
    """Whether the local store now has the result of a key, with all bytes."""

    key: str
    here: bool


@dataclass(frozen=True, slots=True)
class Pushed:
    """Whether the shared cache now has the result of a key."""

    key: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Said:
    """Something that a user should know."""

    message: str
    hints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Bytes moved so far, and uploads that are not done."""

    down: int
    up: int
    left: int
    over: bool  # whether no more of these follow


Order = Lookup | Bring | Push | Settle
Answer = Found | Brought | Pushed | Said | Totals
Message = Opening | Order | Answer

_KINDS: tuple[Any, ...] = (
    *(Opening, Lookup, Bring, Push, Settle),
    *(Found, Brought, Pushed, Said, Totals),
)


def packed(message: Message) -> bytes:
    """Return a message as bytes."""
    values = [_plain(getattr(message, one.name)) for one in fields(message)]
    return marshal.dumps((_KINDS.index(type(message)), values))


def unpacked(content: bytes) -> Any:
    """Read what `packed` wrote."""
    number, values = marshal.loads(content)  # noqa: S302 - ours
    kind = _KINDS[number]
    if kind is Opening:
        return Opening(values[0], Sharing(**values[1]))
    if kind in {Bring, Found} and values[-1] is not None:
        values[-1] = decode(values[-1])
    return kind(*values)


def _plain(value: Any) -> Any:
    match value:
        case Result():
            return encode(value)
        case Sharing():
            return {one.name: getattr(value, one.name) for one in fields(value)}
        case _:
            return value
