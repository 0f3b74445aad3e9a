"""The functions that every file sees."""

from collections.abc import Callable, Iterable
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import (
    a_type,
    not_callable,
    type_name,
)
from mlbuild.lang.iterate import iterate, length
from mlbuild.lang.methods import entries_of, keys_of
from mlbuild.lang.operate import attribute, attributes
from mlbuild.lang.show import (
    repr_of,
    str_of,
)
from mlbuild.lang.text import parse_float, parse_int, to_float, truncated
from mlbuild.lang.thread import LOCAL, MAX_ITEMS, check_size, spend
from mlbuild.lang.values import (
    Builtin,
    Dict,
    Elements,
    List,
    Range,
    Set,
    Struct,
    Value,
    less,
)

_MISSING: Any = object()
_BYTES = range(256)
_FNV_START, _FNV_PRIME, _WORD = 0x811C9DC5, 0x01000193, 1 << 32


def _abs(x: Any, /) -> Any:
    if type(x) is not int and type(x) is not float:
        raise InputError(f"abs takes a number, not {a_type(x)}")
    return abs(x)


def _all(x: Any, /) -> bool:
    return all(map(bool, iterate(x)))


def _any(x: Any, /) -> bool:
    return any(map(bool, iterate(x)))


def _bool(x: Any = False, /) -> bool:  # noqa: FBT002 - as in Python
    return bool(x)


def _bytes(x: Any = b"", /) -> bytes:
    if type(x) is bytes:
        return x
    if type(x) is str:
        return x.encode("utf-8", "replace")
    found = list(_taken(x))
    for one in found:
        if type(one) is not int or one not in _BYTES:
            raise InputError(f"bytes takes ints from 0 to 255, not {repr_of(one)}")
    return bytes(found)


def _dict(pairs: Any = (), /, **named: Any) -> Dict:
    if pairs is None:
        raise InputError("dict takes a dict or pairs, not None")
    return Dict({**entries_of(pairs), **named})


def _dir(x: Any, /) -> List:
    return List(attributes(x))


def _enumerate(x: Any, /, start: Any = 0) -> List:
    if type(start) is not int:
        raise InputError(f"enumerate starts at an int, not at {a_type(start)}")
    return List(list(enumerate(_taken(x), start)))


def _fail(*args: Any, sep: Any = " ") -> None:
    raise InputError(_joined(args, sep) or "fail() was called")


def _float(x: Any = 0.0, /) -> float:
    if type(x) is str:
        return parse_float(x)
    if isinstance(x, bool | int | float):
        return to_float(x)
    raise InputError(f"float takes a number or a string, not {a_type(x)}")


def _getattr(x: Any, name: Any, default: Any = _MISSING, /) -> Any:
    if type(name) is not str:
        raise InputError(f"the name of a field is a string, not {a_type(name)}")
    if default is _MISSING or name in attributes(x):
        return attribute(x, name)
    return default


def _hasattr(x: Any, name: Any, /) -> bool:
    if type(name) is not str:
        raise InputError(f"the name of a field is a string, not {a_type(name)}")
    return name in attributes(x)


def _hash(x: Any, /) -> int:
    if type(x) is bytes:
        spend(len(x))
        found = _FNV_START
        for byte in x:
            found = (found ^ byte) * _FNV_PRIME % _WORD
        return found
    if type(x) is not str:
        raise InputError(f"hash takes a string or bytes, not {a_type(x)}")
    spend(len(x))
    found = 0
    units = x.encode("utf-16-le", "surrogatepass")
    for at in range(0, len(units), 2):
        found = (found * 31 + units[at] + (units[at + 1] << 8)) % _WORD
    return found - _WORD if found >= _WORD // 2 else found


def _int(x: Any = 0, /, base: Any = _MISSING) -> int:
    if type(x) is str:
        number = 10 if base is _MISSING else base
        if type(number) is not int or (number and not 2 <= number <= 36):  # noqa: PLR2004
            raise InputError(f"a base is 0 or from 2 to 36, not {repr_of(number)}")
        return parse_int(x, number)
    if base is not _MISSING:
        raise InputError(f"only a string is read in a base, not {a_type(x)}")
    if isinstance(x, bool | int):
        return int(x)
    if type(x) is float:
        return truncated(x)
    raise InputError(f"int takes a number or a string, not {a_type(x)}")


def _len(x: Any, /) -> int:
    if type(x) is Range:
        return length(x)
    if isinstance(x, str | bytes | tuple | List | Dict | Set | Elements) or (
        isinstance(x, Value) and hasattr(x, "__len__")
    ):
        return len(x)
    raise InputError(f"{a_type(x)} has no length")


def _list(x: Any = (), /) -> List:
    return List(list(_taken(x)))


def _max(*args: Any, key: Any = None) -> Any:
    return _extreme("max", args, key, lambda one, best: less(best, one))


def _min(*args: Any, key: Any = None) -> Any:
    return _extreme("min", args, key, less)


def _extreme(name: str, args: tuple[Any, ...], key: Any, better: Callable[[Any, Any], bool]) -> Any:
    values = list(_taken(args[0])) if len(args) == 1 else args
    if not values:
        raise InputError(f"`{name}` needs at least one value")
    if key is not None and not callable(key):
        raise not_callable(key)
    best, rank = values[0], _rank(values[0], key)
    for one in values[1:]:
        mine = _rank(one, key)
        if better(mine, rank):
            best, rank = one, mine
    return best


def _rank(value: Any, key: Any) -> Any:
    return value if key is None else key(value)


def _print(*args: Any, sep: Any = " ") -> None:
    thread = LOCAL.thread
    text = _joined(args, sep)
    if thread is not None:
        thread.print(text)


def _joined(args: tuple[Any, ...], sep: Any) -> str:
    if type(sep) is not str:
        raise InputError(f"`sep` is a string, not {a_type(sep)}")
    return sep.join(map(str_of, args))


def _range(first: Any, second: Any = _MISSING, step: Any = 1, /) -> Range:
    start, stop = (0, first) if second is _MISSING else (first, second)
    for one in (start, stop, step):
        if type(one) is not int:
            raise InputError(f"range takes ints, not {a_type(one)}")
    if not step:
        raise InputError("the step of a range is not zero")
    return Range(range(start, stop, step))


def _repr(x: Any, /) -> str:
    return repr_of(x)


def _reversed(x: Any, /) -> List:
    return List(list(_taken(x))[::-1])


def _set(x: Any = (), /) -> Set:
    return Set(dict(keys_of(x)))


class _Ranked:
    """Something to sort by the order of the language."""

    __slots__ = ("rank",)

    def __init__(self, rank: Any) -> None:
        self.rank = rank

    def __lt__(self, other: "_Ranked") -> bool:
        return less(self.rank, other.rank)


def _sorted(x: Any, /, *, key: Any = None, reverse: Any = False) -> List:
    values = list(_taken(x))
    if type(reverse) is not bool:
        raise InputError(f"`reverse` is True or False, not {a_type(reverse)}")
    if key is not None and not callable(key):
        raise not_callable(key)
    ranks = values if key is None else [key(one) for one in values]
    kinds = set(map(type, ranks))
    if len(values) > 1 and kinds not in ({str}, {int}):
        ranks = [_Ranked(rank) for rank in ranks]
    spend(len(values))
    order = sorted(range(len(values)), key=ranks.__getitem__, reverse=reverse)
    return List([values[place] for place in order])


def _str(x: Any = "", /) -> str:
    return str_of(x)


def _struct(**fields: Any) -> Struct:
    return Struct(fields)


def _tuple(x: Any = (), /) -> tuple[Any, ...]:
    return tuple(_taken(x))


def _type(x: Any, /) -> str:
    return type_name(x)


def _zip(*args: Any) -> List:
    return List(list(zip(*map(iterate, args), strict=False)))


def _taken(x: Any) -> Iterable[Any]:
    """Return the items of `x`, of which there are not too many to have them all."""
    size = length(x) if type(x) is Range else 0
    check_size(size, limit=MAX_ITEMS, what="list")
    return iterate(x)


UNIVERSAL: dict[str, Any] = {
    name.removeprefix("_"): Builtin(name.removeprefix("_"), function)
    for name, function in (
        (function.__name__, function)
        for function in (
            _abs,
            _all,
            _any,
            _bool,
            _bytes,
            _dict,
            _dir,
            _enumerate,
            _fail,
            _float,
            _getattr,
            _hasattr,
            _hash,
            _int,
            _len,
            _list,
            _max,
            _min,
            _print,
            _range,
            _repr,
            _reversed,
            _set,
            _sorted,
            _str,
            _struct,
            _tuple,
            _type,
            _zip,
        )
    )
}
