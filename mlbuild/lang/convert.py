"""Values from plain Python and back, and freezing them."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import FROZEN
from mlbuild.lang.values import (
    Builtin,
    Dict,
    Elements,
    Function,
    Key,
    List,
    Method,
    Range,
    Set,
    Struct,
    Value,
    key_of,
)


def freeze(value: Any) -> Any:
    """Make `value` and all that can be reached from it immutable; return it."""
    pending = [value]
    seen: set[int] = set()  # ids of functions: they may hold each other
    while pending:
        one = pending.pop()
        kind = type(one)
        if kind in _LEAVES:
            continue
        if kind is List:
            if one.held != FROZEN:
                one.held = FROZEN
                pending += one.elements
        elif kind is Dict:
            if one.held != FROZEN:
                one.held = FROZEN
                pending += one.entries.values()
                pending += [key.value for key in one.entries if type(key) is Key]
        elif kind is Set:
            if one.held != FROZEN:
                one.held = FROZEN
                pending += [key.value for key in one.entries if type(key) is Key]
        elif kind is tuple:
            pending += [item for item in one if type(item) not in _LEAVES]
        elif kind is Struct:
            pending += one.fields.values()
        elif kind is Method:
            pending.append(one.receiver)
        elif kind is Function and id(one) not in seen:
            seen.add(id(one))
            python = one.python
            pending += python.__defaults__ or ()
            pending += (python.__kwdefaults__ or {}).values()
            pending += _captured(python)
    return value


def _captured(python: FunctionType) -> list[Any]:
    found: list[Any] = []
    for cell in python.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue  # not assigned yet
    return found


_MADE = frozenset({List, Dict, Set, Struct, Function, Method})
_LEAVES = frozenset({str, int, bool, float, bytes, type(None), Builtin, Range, Elements})


def to_python(value: Any) -> Any:
    """Return `value` in plain Python: copies of lists, tuples and dicts; a struct becomes a dict.

    A set becomes a list in its order, as Python's sets have none. Functions and values that the
    host defines stay as they are.
    """
    try:
        return _plain(value, [10_000_000])
    except RecursionError:
        raise InputError("the value is nested too deeply") from None


def _plain(value: Any, left: list[int]) -> Any:
    kind = type(value)
    if kind is str or kind is int:
        return value
    left[0] -= 1
    if left[0] < 0:
        raise InputError("the value is too large")
    if kind is List:
        return [_plain(one, left) for one in value.elements]
    if kind is tuple:
        return tuple([_plain(one, left) for one in value])
    if kind is Dict:
        items = value.items()
        plain = {_plain(key, left): _plain(one, left) for key, one in items}
        if len(plain) != len(items):
            raise InputError("two keys of the dict differ in their type only, such as 1 and True")
        return plain
    if kind is Struct:
        return {name: _plain(one, left) for name, one in value.fields.items()}
    if kind is Set:
        return [_plain(one, left) for one in value.elements()]
    if kind is Range or kind is Elements:
        return list(value)
    return value


def from_python(value: Any) -> Any:
    """Return plain Python as a value: lists, tuples, dicts and what they hold."""
    kind = type(value)
    if kind in _LEAVES or kind in _MADE or isinstance(value, Value):
        return value
    if kind is list:
        return List([from_python(one) for one in value])
    if kind is tuple:
        return tuple([from_python(one) for one in value])
    if isinstance(value, Mapping):
        return Dict({key_of(from_python(key)): from_python(one) for key, one in value.items()})
    if isinstance(value, set | frozenset):
        raise TypeError("a Python set has no order: pass a list")
    raise TypeError(f"{value!r} is no value of the BUILD language")
