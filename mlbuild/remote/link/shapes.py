"""Shapes: what another machine says has the types and ranges that it must have, or is refused.

A shape is an example: `""`, `0`, `0.0` and `False` stand for their types, a list of one for any
number of such, a tuple for exactly these in a row, a mapping for at least these by name.
"""

from collections.abc import Mapping
from typing import Any

_ENDLESS = 1 << 63  # what no number reaches


def like(found: Any, example: Any) -> Any:
    """Return `found`, its rows as tuples; raise ValueError unless it is like `example`.

    Halves of characters become `?`; a number is finite and not negative.
    """
    if isinstance(example, Mapping):
        if not isinstance(found, dict) or not example.keys() <= found.keys():
            raise ValueError("not all names")
        return {**found, **{name: like(found[name], one) for name, one in example.items()}}
    if isinstance(example, list | tuple):
        return _row(found, example)
    if isinstance(example, float) and type(found) is int:
        found = min(found, _ENDLESS) * 1.0
    if type(found) is not type(example):
        raise ValueError("another type")
    if isinstance(found, str):
        return found.encode("utf-8", "replace").decode()
    if not 0 <= found < _ENDLESS:
        raise ValueError("a number that cannot be")
    return found


def _row(found: Any, example: "list[Any] | tuple[Any, ...]") -> tuple[Any, ...]:
    if not isinstance(found, list | tuple):
        raise ValueError("no row")  # noqa: TRY004 - a format, not a type of ours
    if isinstance(example, list):
        return tuple(like(one, example[0]) for one in found)
    return tuple(like(one, like_it) for one, like_it in zip(found, example, strict=True))
