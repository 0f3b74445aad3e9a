"""Going over values, and taking them apart."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import (
    FROZEN,
    a_type,
)
from mlbuild.lang.thread import LOCAL, Thread, spend
from mlbuild.lang.values import (
    Dict,
    Elements,
    List,
    Range,
    Set,
    Value,
)


def iterate(value: Any) -> Iterable[Any]:
    """Return what to iterate over: the items of `value`, which cannot change in the meantime."""
    kind = type(value)
    if kind is tuple:
        items: Any = value
    elif kind is List:
        items = value.elements
    elif kind is Dict:
        items = value.keys()
    elif kind is Set:
        items = value.elements()
    elif kind is Range:
        items = value.range
    elif kind is Elements:
        items = value.of
    elif isinstance(value, Value) and hasattr(value, "__iter__"):
        items = tuple(value)
    else:
        hints: tuple[str, ...] = ()
        if kind is str or kind is bytes:
            hints = ("its characters are `.elems()`",) if kind is str else ("see `.elems()`",)
        raise InputError(f"{a_type(value)} cannot be iterated over", hints=hints)
    thread = LOCAL.thread
    if kind in _HELD and value.held != FROZEN:
        return _held(value, items, thread)
    if thread is None or (kind is not Range and len(items) <= _AT_ONCE):
        spend(len(items) if thread else 0)
        iterable: Iterable[Any] = items
        return iterable
    return _counted(items, thread)


def iterate_apart(value: Any, shape: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the items of `value`, each taken apart by `shape` (see `unpack`)."""
    for one in iterate(value):
        yield unpack(one, shape)


def is_iterable(value: Any) -> bool:
    """Say whether a loop can go over `value`."""
    return type(value) in _ITERABLE or (isinstance(value, Value) and hasattr(value, "__iter__"))


_HELD = frozenset({List, Dict, Set})
_ITERABLE = frozenset({List, Dict, Set, tuple, Range, Elements})
_AT_ONCE = 16


def _held(value: Any, items: Iterable[Any], thread: Thread | None) -> Iterator[Any]:
    """Yield `items`; the value that they are of cannot change before this ends or is dropped."""
    value.held += 1
    try:
        yield from items if thread is None else _counted(items, thread)
    finally:
        if value.held > 0:
            value.held -= 1


def _counted(items: Iterable[Any], thread: Thread) -> Iterator[Any]:
    """Yield `items`, counting steps for a growing number of them at a time."""
    rest = iter(items)
    size = _AT_ONCE
    while chunk := tuple(islice(rest, size)):
        thread.steps -= len(chunk)
        if thread.steps < 0:
            spend(1)
        yield from chunk
        size = min(size * 2, 1024)


def unpack(value: Any, shape: tuple[Any, ...]) -> Any:
    """Return the items of `value` as a tuple: as many as `shape` has, and in turn where it nests.

    An element of `shape` is None, or the shape of that item.
    """
    items: list[Any] | tuple[Any, ...]
    if type(value) is List:
        items = value.elements
    elif type(value) is tuple:
        items = value
    else:
        items = _taken(value, len(shape))
    if len(items) != len(shape):
        raise InputError(
            f"{_numbered(len(shape), 'name')} for {_numbered(len(items), 'value')}"
            if len(items) < len(shape)
            else f"{_numbered(len(items), 'value')} for {_numbered(len(shape), 'name')}"
        )
    if any(shape):
        return tuple(
            one if inner is None else unpack(one, inner)
            for one, inner in zip(items, shape, strict=True)
        )
    return items


def _numbered(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _taken(value: Any, wanted: int) -> list[Any]:
    """Return the items of an iterable that is no list, one more than `wanted` at most."""
    if not is_iterable(value):
        raise InputError(f"{a_type(value)} cannot be taken apart into {_numbered(wanted, 'name')}")
    return (
        list(islice(iterate(value), wanted + 1)) if type(value) is Range else list(iterate(value))
    )


def length(value: Any) -> int:
    """Return the number of items of a range, also where Python's len() gives up."""
    found: range = value.range
    try:
        return len(found)
    except OverflowError:
        return (found[-1] - found.start) // found.step + 1
