"""The values of the language: those that are not Python's own, and what all of them have in common.

None, bool, int, float, str, bytes and tuple are Python's. They are compared and hashed here and
not by Python, where `1 == True` and NaN differs from itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import (
    FROZEN,
    a_type,
    held,
    index_in,
    misfit,
    no_attribute,
    not_callable,
    type_name,
)
from mlbuild.lang.thread import LOCAL, spend, spend_on


class Value:
    """A value that the host defines: immutable; compared by identity, or by its `__eq__`."""

    __slots__ = ()
    type_name: str = "value"

    def attribute(self, name: str) -> Any:
        """Return `value.name`; raise InputError where there is none."""
        raise no_attribute(self, name, list(self.attributes()))

    def attributes(self) -> Iterable[str]:
        """Return the names that `attribute` knows."""
        return ()

    def truth(self) -> bool:
        """Say whether the value counts as true."""
        return True

    def equals(self, other: Any) -> bool:
        """Say whether `self == other` in the language; `other` may be of any type."""
        return isinstance(other, Value) and bool(self == other)

    def combined(self, operator: str, other: Any, *, swapped: bool) -> Any:
        """Return `self operator other`, `other operator self` when swapped; None for no such one.

        Asked for `+` and `|`.
        """

    def __bool__(self) -> bool:
        return self.truth()

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)


def combined(operator: str, a: Any, b: Any) -> Any:
    """Return what a value of the host makes of `a operator b`; None where none makes anything."""
    if isinstance(a, Value):
        found = a.combined(operator, b, swapped=False)
        if found is not None:
            return found
    return b.combined(operator, a, swapped=True) if isinstance(b, Value) else None


class List:
    """A list. It owns `elements`, the Python list it is made of."""

    type_name = "list"
    __slots__ = ("elements", "held")
    __hash__ = None  # type: ignore[assignment]  # as keys, values go through key_of

    def __init__(self, elements: list[Any]) -> None:
        self.elements = elements
        self.held = 0

    def __len__(self) -> int:
        return len(self.elements)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.elements)

    def __getitem__(self, index: int) -> Any:
        return self.elements[index]

    def __contains__(self, value: object) -> bool:
        return any(equal(value, one) for one in self.elements)

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __repr__(self) -> str:
        return f"List({self.elements!r})"

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.held:
            raise held(self)
        self.elements[index_in(index, len(self.elements), self)] = value

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)


class Dict:
    """A dict. `entries` has the values by `key_of` their keys, in the order of insertion."""

    type_name = "dict"
    __slots__ = ("entries", "held")
    __hash__ = None  # type: ignore[assignment]  # as keys, values go through key_of

    def __init__(self, entries: dict[Any, Any]) -> None:
        self.entries = entries
        self.held = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key_of(key) in self.entries

    def __getitem__(self, key: Any) -> Any:
        return self.entries[key_of(key)]

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __repr__(self) -> str:
        return f"Dict({dict(self.items())!r})"

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.held:
            raise held(self)
        self.entries[key if type(key) is str else key_of(key)] = value

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)

    def keys(self) -> list[Any]:
        """Return the keys in the order of insertion."""
        return [key.value if type(key) is Key else key for key in self.entries]

    def values(self) -> list[Any]:
        """Return the values in the order of insertion."""
        return list(self.entries.values())

    def items(self) -> list[tuple[Any, Any]]:
        """Return the pairs of keys and values in the order of insertion."""
        return [
            (key.value if type(key) is Key else key, value) for key, value in self.entries.items()
        ]

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        return self.entries.get(key_of(key), default)


class Set:
    """A set. `entries` has `key_of` its elements, in the order of insertion."""

    type_name = "set"
    __slots__ = ("entries", "held")
    __hash__ = None  # type: ignore[assignment]  # as keys, values go through key_of

    def __init__(self, entries: dict[Any, None]) -> None:
        self.entries = entries
        self.held = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.elements())

    def __contains__(self, value: object) -> bool:
        return key_of(value) in self.entries

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __repr__(self) -> str:
        return f"Set({self.elements()!r})"

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)

    def elements(self) -> list[Any]:
        """Return the elements in the order of insertion."""
        return [key.value if type(key) is Key else key for key in self.entries]


class Range:
    """What `range` returns."""

    type_name = "range"
    __slots__ = ("range",)
    __hash__ = None  # type: ignore[assignment]  # the specification says so

    def __init__(self, range_: range) -> None:
        self.range = range_

    def __len__(self) -> int:
        return len(self.range)

    def __bool__(self) -> bool:
        return bool(self.range)

    def __iter__(self) -> Iterator[int]:
        return iter(self.range)

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __repr__(self) -> str:
        return f"Range({self.range!r})"

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)


class Elements:
    """What `elems()` of a string or bytes returns: its elements, to be iterated over."""

    __slots__ = ("of",)

    def __init__(self, of: str | bytes) -> None:
        self.of = of

    @property
    def type_name(self) -> str:
        """What `type(value)` is."""
        return "string.elems" if isinstance(self.of, str) else "bytes.elems"

    def __len__(self) -> int:
        return len(self.of)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.of)

    def __repr__(self) -> str:
        return f"Elements({self.of!r})"

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)


class Struct:
    """An immutable value with named fields."""

    type_name = "struct"
    __slots__ = ("fields",)
    __hash__ = None  # type: ignore[assignment]  # as keys, values go through key_of

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __repr__(self) -> str:
        return f"Struct({self.fields!r})"

    def __call__(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: this is no function."""
        raise not_callable(self)


class Function:
    """A function that is written in the language."""

    type_name = "function"
    __slots__ = ("code", "doc", "name", "python")

    def __init__(self, python: FunctionType) -> None:
        self.python = python
        self.code = id(python.__code__)
        self.name = "lambda" if python.__name__ == "<lambda>" else python.__name__
        self.doc = python.__doc__ or ""

    def __repr__(self) -> str:
        return f"<function {self.name}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function within an evaluation; refuse to call it within itself."""
        thread = LOCAL.thread
        if thread is None:
            raise RuntimeError("a function of the BUILD language is called by lang.call")
        entered = thread.entered
        if self.code in entered:
            names = [*entered.values()][[*entered].index(self.code) :]
            raise InputError(
                f"function `{self.name}` calls itself: {' → '.join([*names, self.name])}",
                hints=("there is no recursion: write a loop",),
            )
        thread.steps -= 1
        if thread.steps < 0:
            spend(1)
        entered[self.code] = self.name
        try:
            return self.python(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            raise misfit(self.name, self.python, args, kwargs) from None
        finally:
            del entered[self.code]


class Builtin:
    """A function that the host provides. It is called with values as they are."""

    type_name = "builtin_function_or_method"
    __slots__ = ("doc", "function", "name")

    def __init__(self, name: str, function: Callable[..., Any], doc: str = "") -> None:
        self.name = name
        self.function = function
        self.doc = doc

    def __repr__(self) -> str:
        return f"<built-in function {self.name}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the host's function."""
        try:
            return self.function(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            raise misfit(self.name, self.function, args, kwargs) from None


class Method:
    """A method and the value that it is of."""

    type_name = "builtin_function_or_method"
    __slots__ = ("function", "name", "receiver")

    def __init__(self, name: str, function: Callable[..., Any], receiver: Any) -> None:
        self.name = name
        self.function = function
        self.receiver = receiver

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Method)
            and other.function is self.function
            and (
                other.receiver is self.receiver
                or (isinstance(self.receiver, str | bytes) and equal(self.receiver, other.receiver))
            )
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<built-in method {self.name} of {type_name(self.receiver)} value>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        if type(self.receiver) in _TEXTS:
            spend_on(len(self.receiver))
        try:
            return self.function(self.receiver, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            raise misfit(self.name, self.function, args, kwargs, bound=True) from None


_TEXTS = frozenset({str, bytes})


class Key:
    """A key that Python would confuse with another: bool, NaN, and all that may hold one."""

    __slots__ = ("hash", "same", "value")

    def __init__(self, value: Any, same: Any) -> None:
        self.value = value
        self.same = same  # equal values have equal ones
        self.hash = hash(same)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.hash == other.hash and bool(self.same == other.same)


_TRUE, _FALSE = Key(True, "True"), Key(False, "False")
_NAN = Key(float("nan"), "nan")
_PLAIN = frozenset({str, int, bytes, type(None), Function, Builtin})


def key_of(value: Any) -> Any:
    """Return what stands for `value` in a Python dict; raise InputError if it cannot be a key."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float:
        return value if value == value else _NAN  # noqa: PLR0124 - NaN differs from itself
    if kind is tuple:
        spend(len(value))
        keys = tuple(map(key_of, value))
        if all(key is item for key, item in zip(keys, value, strict=True)):
            return value
        return Key(value, ("tuple", keys))
    if kind is List and value.held == FROZEN:
        spend(len(value.elements))
        return Key(value, ("list", tuple(map(key_of, value.elements))))
    if kind is Dict and value.held == FROZEN:
        spend(len(value.entries))
        return Key(
            value,
            ("dict", frozenset((key, key_of(one)) for key, one in value.entries.items())),
        )
    if kind is Set and value.held == FROZEN:
        return Key(value, ("set", frozenset(value.entries)))
    if kind is Struct:
        spend(len(value.fields))
        return Key(
            value,
            ("struct", frozenset((name, key_of(one)) for name, one in value.fields.items())),
        )
    if (kind is Method or isinstance(value, Value)) and kind.__hash__ is not None:
        return value
    raise InputError(
        f"a {type_name(value)} cannot be a key or an element of a set",
        hints=("only values that cannot change can: make a tuple of it",) if kind is List else (),
    )


def equal(a: Any, b: Any) -> bool:
    """Say whether a == b."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        if (kind is int and type(b) is float) or (kind is float and type(b) is int):
            return bool(a == b)
        if isinstance(a, Value):
            return a.equals(b)
        return isinstance(b, Value) and b.equals(a)
    if kind is str or kind is bytes:
        spend_on(len(a))
        return bool(a == b)
    if kind is int or kind is bool:
        return bool(a == b)
    if kind is float:
        return bool(a == b or (a != a and b != b))  # noqa: PLR0124 - NaN equals itself here
    if kind is tuple:
        return _same_items(a, b)
    if kind is List:
        return _same_items(a.elements, b.elements)
    if kind is Dict:
        return _same_values(a.entries, b.entries)
    if kind is Set:
        return bool(a.entries.keys() == b.entries.keys())
    if kind is Struct:
        return _same_values(a.fields, b.fields)
    if kind is Range:
        return bool(a.range == b.range)
    if isinstance(a, Value):
        return a.equals(b)
    return kind is Method and bool(a == b)


def _same_items(a: Any, b: Any) -> bool:
    if len(a) != len(b):
        return False
    spend(len(a))
    return all(map(equal, a, b))


def _same_values(a: Any, b: Any) -> bool:
    if a.keys() != b.keys():
        return False
    spend(len(a))
    return all(equal(value, b[key]) for key, value in a.items())


def less(a: Any, b: Any, sign: str = "<") -> bool:
    """Say whether a < b; raise InputError where they have no order. `sign` is for the message."""
    kind = type(a)
    other = type(b)
    if kind is other:
        if kind is str or kind is bytes:
            spend_on(len(a))
            return bool(a < b)
        if kind is int or kind is bool:
            return bool(a < b)
        if kind is tuple:
            return _less_items(a, b, sign)
        if kind is List:
            return _less_items(a.elements, b.elements, sign)
    if (kind is float or kind is int) and (other is float or other is int):
        if a != a:  # noqa: PLR0124 - NaN is the greatest
            return False
        return bool(a < b or b != b)  # noqa: PLR0124 - as above
    if kind is other and isinstance(a, Value) and hasattr(a, "__lt__"):
        result = a.__lt__(b)
        if result is not NotImplemented:
            return bool(result)
    raise InputError(f"`{sign}` cannot compare {a_type(a)} with {a_type(b)}")


def _less_items(a: Any, b: Any, sign: str) -> bool:
    spend(min(len(a), len(b)))
    for one, other in zip(a, b, strict=False):
        if not equal(one, other):
            return less(one, other, sign)
    return len(a) < len(b)
