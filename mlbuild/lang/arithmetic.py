"""What the arithmetic operators do."""

from math import floor, fmod
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import a_type
from mlbuild.lang.text import interpolate, to_float
from mlbuild.lang.thread import MAX_BITS, MAX_ITEMS, MAX_SIZE, check_size, spend_on
from mlbuild.lang.values import Dict, List, Set, combined


def add(a: Any, b: Any) -> Any:
    """Return a + b."""
    kind = type(a)
    if kind is type(b):
        if kind is int or kind is float:
            return a + b
        if kind is str or kind is bytes:
            if len(a) + len(b) > _SMALL:
                check_size(len(a) + len(b), limit=MAX_SIZE, what=_WHAT[kind])
            return a + b
        if kind is List:
            check_size(len(a.elements) + len(b.elements), limit=MAX_ITEMS, what="list")
            return List(a.elements + b.elements)
        if kind is tuple:
            check_size(len(a) + len(b), limit=MAX_ITEMS, what="tuple")
            return a + b
    if are_numbers(a, b):
        return to_float(a) + to_float(b)
    found = combined("+", a, b)
    if found is not None:
        return found
    hint: tuple[str, ...] = ()
    if kind is str or type(b) is str:
        hint = ("make a string of it with str(…)",)
    elif {kind, type(b)} == {List, tuple}:
        hint = ("make a list of it with list(…)",)
    elif kind is Dict and type(b) is Dict:
        hint = ("dicts are joined with `|`",)
    raise _unfit("+", a, b, hint)


def subtract(a: Any, b: Any) -> Any:
    """Return a - b."""
    if type(a) is int and type(b) is int:
        return a - b
    if are_numbers(a, b):
        return to_float(a) - to_float(b)
    if type(a) is Set and type(b) is Set:
        _spend_on_both(a, b)
        return Set({key: None for key in a.entries if key not in b.entries})
    raise _unfit("-", a, b)


def multiply(a: Any, b: Any) -> Any:
    """Return a * b."""
    if type(a) is int:
        if type(b) is int:
            bits = a.bit_length() + b.bit_length()
            if bits > _SMALL:
                _spend_on_bits(bits)
            return a * b
        if type(b) in _REPEATED:
            return _repeat(b, a)
    elif type(b) is int and type(a) in _REPEATED:
        return _repeat(a, b)
    if are_numbers(a, b):
        return to_float(a) * to_float(b)
    raise _unfit("*", a, b)


def divide(a: Any, b: Any) -> Any:
    """Return a / b, which is a float."""
    if not are_numbers(a, b):
        raise _unfit("/", a, b)
    a, b = to_float(a), to_float(b)
    if not b:
        raise InputError("division by zero")
    return a / b


def divide_floor(a: Any, b: Any) -> Any:
    """Return a // b, rounded down."""
    if not are_numbers(a, b):
        raise _unfit("//", a, b)
    if not b:
        raise InputError("division by zero")
    if type(a) is int and type(b) is int:
        _spend_on_bits(a.bit_length())
        return a // b
    return _floor(to_float(a) / to_float(b))


def _floor(value: float) -> float:
    """Return the greatest whole number that is not above `value`, as a float."""
    if value - value != 0:
        return value  # infinity and NaN stay what they are
    return float(floor(value)) if value else value


def remainder(a: Any, b: Any) -> Any:
    """Return a % b: a number with the sign of b, or the string a with what b holds."""
    if type(a) is str:
        spend_on(len(a))
        return interpolate(a, b)
    if not are_numbers(a, b):
        raise _unfit("%", a, b)
    if not b:
        raise InputError("division by zero")
    if type(a) is int and type(b) is int:
        _spend_on_bits(a.bit_length())
        return a % b
    return _modulo(to_float(a), to_float(b))


def _modulo(a: float, b: float) -> float:
    """Return what is left of a, with the sign of b; a zero is positive."""
    if a - a != 0:
        return float("nan")
    rest = fmod(a, b)
    if not rest:
        return 0.0
    return rest + b if (rest < 0) != (b < 0) else rest


def bit_and(a: Any, b: Any) -> Any:
    """Return a & b."""
    if type(a) is int and type(b) is int:
        return a & b
    if type(a) is Set and type(b) is Set:
        _spend_on_both(a, b)
        return Set({key: None for key in a.entries if key in b.entries})
    raise _unfit("&", a, b)


def bit_or(a: Any, b: Any) -> Any:
    """Return a | b."""
    if type(a) is int and type(b) is int:
        return a | b
    if type(a) is Set and type(b) is Set:
        _spend_on_both(a, b)
        return Set(a.entries | b.entries)
    if type(a) is Dict and type(b) is Dict:
        _spend_on_both(a, b)
        return Dict(a.entries | b.entries)
    found = combined("|", a, b)
    if found is not None:
        return found
    raise _unfit("|", a, b)


def bit_xor(a: Any, b: Any) -> Any:
    """Return a ^ b."""
    if type(a) is int and type(b) is int:
        return a ^ b
    if type(a) is Set and type(b) is Set:
        _spend_on_both(a, b)
        found = {key: None for key in a.entries if key not in b.entries}
        found.update({key: None for key in b.entries if key not in a.entries})
        return Set(found)
    raise _unfit("^", a, b)


def shift_left(a: Any, b: Any) -> Any:
    """Return a << b."""
    if type(a) is not int or type(b) is not int:
        raise _unfit("<<", a, b)
    if b < 0:
        raise InputError("a shift by a negative number")
    if a and a.bit_length() + b > MAX_BITS:
        raise _too_large()
    return a << b if a else 0


def shift_right(a: Any, b: Any) -> Any:
    """Return a >> b."""
    if type(a) is not int or type(b) is not int:
        raise _unfit(">>", a, b)
    if b < 0:
        raise InputError("a shift by a negative number")
    return a >> min(b, MAX_BITS + 1)


def negative(a: Any) -> Any:
    """Return -a."""
    if type(a) is int or type(a) is float:
        return -a
    raise InputError(f"`-` takes a number, not {a_type(a)}")


def positive(a: Any) -> Any:
    """Return +a."""
    if type(a) is int or type(a) is float:
        return a
    raise InputError(f"`+` takes a number, not {a_type(a)}")


def inverse(a: Any) -> Any:
    """Return ~a."""
    if type(a) is int:
        return ~a
    raise InputError(f"`~` takes an int, not {a_type(a)}")


_SMALL = 1 << 10
_WHAT = {str: "string", bytes: "bytes value"}
_REPEATED = frozenset({str, bytes, List, tuple})


def are_numbers(a: Any, b: Any) -> bool:
    """Say whether both are ints or floats."""
    return (type(a) is int or type(a) is float) and (type(b) is int or type(b) is float)


def _spend_on_both(a: Set | Dict, b: Set | Dict) -> None:
    spend_on(len(a.entries) + len(b.entries))


def _spend_on_bits(bits: int) -> None:
    """Count steps for a product or quotient of `bits`; refuse what would be too large."""
    if bits > MAX_BITS:
        raise _too_large()
    spend_on(bits * bits >> 10)  # the time grows with the square


def _repeat(sequence: Any, times: int) -> Any:
    times = max(times, 0)
    size = len(sequence) * times
    if type(sequence) is str or type(sequence) is bytes:
        check_size(size, limit=MAX_SIZE, what=_WHAT[type(sequence)])
        return sequence * times
    check_size(size, limit=MAX_ITEMS, what="list" if type(sequence) is List else "tuple")
    return List(sequence.elements * times) if type(sequence) is List else sequence * times


def _unfit(operator: str, a: Any, b: Any, hints: tuple[str, ...] = ()) -> InputError:
    return InputError(f"`{operator}` cannot take {a_type(a)} and {a_type(b)}", hints=hints)


def _too_large() -> InputError:
    return InputError(f"the int would have more than {MAX_BITS} bits")
