"""What the operators of the language do. Compiled files call these functions."""

from collections.abc import Callable, Iterable
from typing import Any

from mlbuild.errors import InputError, did_you_mean
from mlbuild.lang.arithmetic import (
    add,
    are_numbers,
    bit_and,
    bit_or,
    bit_xor,
    divide,
    divide_floor,
    multiply,
    remainder,
    shift_left,
    shift_right,
    subtract,
)
from mlbuild.lang.faults import (
    a_type,
    changeable,
    index_in,
    no_attribute,
)
from mlbuild.lang.iterate import is_iterable, iterate, length
from mlbuild.lang.methods import METHODS, extend
from mlbuild.lang.show import (
    repr_of,
)
from mlbuild.lang.thread import spend_on
from mlbuild.lang.values import (
    Dict,
    Key,
    List,
    Method,
    Range,
    Set,
    Struct,
    Value,
    combined,
    equal,
    key_of,
    less,
)

# Comparison


def equals(a: Any, b: Any) -> bool:
    """Return a == b."""
    return equal(a, b)


def differs(a: Any, b: Any) -> bool:
    """Return a != b."""
    return not equal(a, b)


def is_less(a: Any, b: Any) -> bool:
    """Return a < b."""
    return less(a, b)


def is_greater(a: Any, b: Any) -> bool:
    """Return a > b."""
    return less(b, a, ">") if type(a) is type(b) else _less_swapped(a, b, ">")


def is_at_most(a: Any, b: Any) -> bool:
    """Return a <= b."""
    return not _less_swapped(a, b, "<=")


def is_at_least(a: Any, b: Any) -> bool:
    """Return a >= b."""
    return not less(a, b, ">=")


def _less_swapped(a: Any, b: Any, sign: str) -> bool:
    """Return b < a; where they have no order, the message names a first."""
    if type(a) is not type(b) and not are_numbers(a, b):
        less(a, b, sign)
    return less(b, a, sign)


def contains(a: Any, b: Any) -> bool:
    """Return a in b."""
    kind = type(b)
    if kind is Dict or kind is Set:
        return (a if type(a) is str else key_of(a)) in b.entries
    if kind is List or kind is tuple:
        items = b if kind is tuple else b.elements
        spend_on(len(items))
        if type(a) is str:
            return a in items
        return any(equal(a, one) for one in items)
    if kind is str:
        if type(a) is not str:
            raise InputError(f"`in` looks for a string in a string, not for {a_type(a)}")
        spend_on(len(b))
        return a in b
    if kind is bytes:
        spend_on(len(b))
        if type(a) is int:
            if not 0 <= a <= _BYTE:
                raise InputError(f"{repr_of(a)} is not the value of a byte")
            return a in b
        if type(a) is not bytes:
            raise InputError(f"`in` looks for bytes or an int in bytes, not for {a_type(a)}")
        return a in b
    if kind is Range:
        if type(a) is not int and type(a) is not float:
            raise InputError(f"`in` looks for a number in a range, not for {a_type(a)}")
        return a in b.range if type(a) is int else float(a).is_integer() and int(a) in b.range
    if kind is Struct or not isinstance(b, Value) or not hasattr(b, "__contains__"):
        raise InputError(f"`in` cannot look into {a_type(b)}")
    return a in b


def contains_not(a: Any, b: Any) -> bool:
    """Return a not in b."""
    return not contains(a, b)


_BYTE = 255

# Parts of values


def attribute(value: Any, name: str) -> Any:
    """Return value.name."""
    kind = type(value)
    methods = METHODS.get(kind)
    if methods is not None:
        found = methods.get(name)
        if found is None:
            hints = did_you_mean(name, list(methods))
            raise InputError(f"{a_type(value)} has no method `{name}`", hints=hints)
        return Method(name, found, value)
    if kind is Struct:
        if name in value.fields:
            return value.fields[name]
        raise no_attribute(value, name, list(value.fields))
    if isinstance(value, Value):
        return value.attribute(name)
    raise InputError(f"{a_type(value)} has no fields or methods, so no `{name}`")


def attributes(value: Any) -> list[str]:
    """Return the names that follow `value.`, sorted."""
    methods = METHODS.get(type(value))
    if methods is not None:
        return sorted(methods)
    if type(value) is Struct:
        return sorted(value.fields)
    return sorted(value.attributes()) if isinstance(value, Value) else []


def assign_attribute(value: Any, name: str) -> Any:
    """Refuse `value.name = …`: no value has fields that change."""
    raise InputError(f"field `{name}` of {a_type(value)} cannot be assigned to")


def item(value: Any, key: Any) -> Any:
    """Return value[key]."""
    kind = type(value)
    if kind is Dict:
        try:
            return value.entries[key if type(key) is str else key_of(key)]
        except KeyError:
            names = [name for name in value.entries if type(name) is str]
            raise InputError(
                f"there is no key {repr_of(key)} in the dict",
                hints=did_you_mean(key, names) if type(key) is str else (),
            ) from None
    if kind is List:
        return value.elements[index_in(key, len(value.elements), value)]
    if kind is str or kind is tuple or kind is bytes:
        return value[index_in(key, len(value), value)]
    if kind is Range:
        return value.range[index_in(key, length(value), value)]
    if isinstance(value, Value) and hasattr(value, "__getitem__"):
        return value[key]
    raise InputError(f"{a_type(value)} has no `[…]`")


def part(value: Any, start: Any, stop: Any, step: Any) -> Any:
    """Return value[start:stop:step]."""
    for bound in (start, stop, step):
        if bound is not None and type(bound) is not int:
            raise InputError(f"the bounds of a slice are ints, not {a_type(bound)}")
    if step == 0:
        raise InputError("the step of a slice is not zero")
    kind = type(value)
    wanted = slice(start, stop, step)
    if kind is not Range and hasattr(value, "__len__"):
        spend_on(len(range(*wanted.indices(len(value)))))
    if kind is List:
        return List(value.elements[wanted])
    if kind is str or kind is tuple or kind is bytes:
        return value[wanted]
    if kind is Range:
        return Range(value.range[wanted])
    raise InputError(f"{a_type(value)} cannot be sliced")


def assignable(value: Any) -> Any:
    """Return `value` if `value[key] = …` may be tried."""
    if type(value) is List or type(value) is Dict:
        return value
    raise InputError(f"the items of {a_type(value)} cannot be assigned to")


# Assignment


def augment(operator: str, a: Any, b: Any) -> Any:
    """Return what `a op= b` makes of a: lists, dicts and sets change in place."""
    kind = type(a)
    if operator == "+" and kind is List:
        found = combined("+", a, b)
        if found is not None:
            return found
        extend(a, b)
        return a
    if operator == "|" and kind is Dict and type(b) is Dict:
        changeable(a)
        spend_on(len(b.entries))
        a.entries.update(b.entries)
        return a
    if kind is Set and type(b) is Set and operator in "|&-^":
        changeable(a)
        a.entries = OPERATORS[operator](a, b).entries
        return a
    return OPERATORS[operator](a, b)


def place(value: Any, key: Any) -> tuple[Any, Any, Any]:
    """Return value, key and value[key]: what `value[key] op= right` reads before `right`."""
    return value, key, item(value, key)


def augment_item(operator: str, place: tuple[Any, Any, Any], right: Any) -> None:
    """Do value[key] op= right."""
    value, key, was = place
    assignable(value)[key] = augment(operator, was, right)


# Values made by literals


def new_list(elements: list[Any]) -> List:
    """Return a list that owns `elements`."""
    spend_on(len(elements))
    return List(elements)


def new_dict(flat: list[Any]) -> Dict:
    """Return the dict of `flat`: a key, its value, the next key, …; a key twice is an error."""
    spend_on(len(flat))
    keys, values = flat[::2], flat[1::2]
    if set(map(type, keys)) != {str}:
        keys = list(map(key_of, keys))
    entries = dict(zip(keys, values, strict=True))
    if len(entries) != len(keys):
        seen: set[Any] = set()
        for key in keys:
            if key in seen:
                shown = repr_of(key.value if type(key) is Key else key)
                raise InputError(f"the key {shown} is given twice in the dict")
            seen.add(key)
    return Dict(entries)


def new_dict_of(pairs: list[tuple[Any, Any]]) -> Dict:
    """Return the dict of what a comprehension made; a later value of a key replaces the former."""
    return Dict({key if type(key) is str else key_of(key): value for key, value in pairs})


def kwargs_dict(kwargs: dict[str, Any]) -> Dict:
    """Return what a function sees as its `**kwargs`."""
    return Dict(kwargs)


def star_args(value: Any) -> Iterable[Any]:
    """Return what `*value` in a call stands for."""
    if not is_iterable(value):
        raise InputError(f"after `*` stands a list or tuple, not {a_type(value)}")
    return iterate(value)


def star_kwargs(value: Any) -> dict[str, Any]:
    """Return what `**value` in a call stands for."""
    if type(value) is not Dict:
        raise InputError(f"after `**` stands a dict, not {a_type(value)}")
    entries: dict[Any, Any] = value.entries
    for key in entries:
        if type(key) is not str:
            shown = repr_of(key.value if type(key) is Key else key)
            raise InputError(f"the keys of a dict after `**` are strings, not {shown}")
    return entries


def apply(
    function: Any,
    args: tuple[Any, ...],
    named: dict[str, Any],
    star: Iterable[Any],
    kwargs: dict[str, Any],
) -> Any:
    """Return function(*args, named…, *star, **kwargs); the caller evaluates them in that order."""
    return function(*args, *star, **named, **kwargs)


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "//": divide_floor,
    "%": remainder,
    "&": bit_and,
    "|": bit_or,
    "^": bit_xor,
    "<<": shift_left,
    ">>": shift_right,
    "==": equals,
    "!=": differs,
    "<": is_less,
    ">": is_greater,
    "<=": is_at_most,
    ">=": is_at_least,
    "in": contains,
    "not in": contains_not,
}
