"""Filling in text: `template % values` and `template.format(…)`; reading numbers from text."""

import re
from collections.abc import Mapping
from typing import Any

from mlbuild.errors import InputError, did_you_mean
from mlbuild.lang.faults import (
    a_type,
)
from mlbuild.lang.show import (
    decimal,
    float_text,
    quoted,
    repr_of,
    str_of,
)
from mlbuild.lang.thread import MAX_BITS, MAX_SIZE, check_size, spend_on


def interpolate(template: str, values: Any) -> str:
    """Return template % values."""
    pieces: list[str] = []
    given = values if type(values) is tuple else (values,)
    used = 0
    size = 0
    rest = template
    while rest:
        before, percent, rest = rest.partition("%")
        pieces.append(before)
        if not percent:
            break
        letter, rest = rest[:1], rest[1:]
        if letter == "%":
            pieces.append("%")
            continue
        if letter not in _CONVERSIONS or not letter:
            raise InputError(
                f"`%{letter}` is not a conversion" if letter else "the string ends in a single `%`",
                hints=("a percent sign is written `%%`",),
            )
        if used == len(given):
            raise InputError(f"the string takes more than {_values(len(given))}")
        pieces.append(_CONVERSIONS[letter](given[used], letter))
        size += len(pieces[-1])
        check_size(size, limit=MAX_SIZE, what="string")
        used += 1
    if used < len(given):
        raise InputError(
            f"the string takes {_values(used)}, not {len(given)}",
            hints=("to fill in a tuple, write `% (value,)`",) if used == 1 else (),
        )
    return "".join(pieces)


def _values(number: int) -> str:
    return f"{number} value" if number == 1 else f"{number} values"


def _str(value: Any, _: str) -> str:
    return str_of(value)


def _repr(value: Any, _: str) -> str:
    return repr_of(value)


def _integer(value: Any, letter: str) -> str:
    if type(value) is float:
        value = truncated(value)
    if type(value) is not int:
        raise InputError(f"`%{letter}` takes a number, not {a_type(value)}")
    return decimal(value) if letter == "d" else format(value, letter)


def _float(value: Any, letter: str) -> str:
    if type(value) is not float and type(value) is not int:
        raise InputError(f"`%{letter}` takes a number, not {a_type(value)}")
    number = to_float(value)
    if number - number != 0:
        return float_text(number)
    if letter in "gG":
        text = float_text(number)
        return text.upper() if letter == "G" else text
    return format(number, letter)


_CONVERSIONS = {
    "s": _str,
    "r": _repr,
    **dict.fromkeys("doxX", _integer),
    **dict.fromkeys("eEfFgG", _float),
}


def fill(template: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return template.format(*args, **kwargs)."""
    pieces: list[str] = []
    counted = False  # whether fields without a number, or with one, have been seen
    numbered = False
    size = at = used = 0
    for found in _BRACES.finditer(template):
        pieces.append(template[at : found.start()])
        at = found.end()
        text = found[0]
        if text in {"{{", "}}"}:
            pieces.append(text[0])
            continue
        if text in {"{", "}"}:
            raise InputError(
                f"a single `{text}` in the format", hints=(f"a brace is written `{text * 2}`",)
            )
        name = found[1]
        if not name:
            counted = True
            name, used = str(used), used + 1
        elif name.isdecimal():
            numbered = True
        if counted and numbered:
            raise InputError("the format has fields with a number and fields without")
        pieces.append(str_of(_field(name, args, kwargs)))
        size += len(pieces[-1])
        check_size(size, limit=MAX_SIZE, what="string")
    pieces.append(template[at:])
    return "".join(pieces)


def _field(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if name.isdecimal():
        place = int(name) if len(name.lstrip("0")) < _MOST_DIGITS else len(args)
        if place < len(args):
            return args[place]
        raise InputError(
            f"the format has a field {{{name}}} but {_values(len(args))} without a name"
        )
    if name in kwargs:
        return kwargs[name]
    if not name.isidentifier():
        raise InputError(
            f"`{{{name}}}` is not a field",
            hints=("a field is `{}`, `{0}` or `{name}`", "a brace is written `{{`"),
        )
    raise InputError(
        f"the format has no value for `{{{name}}}`", hints=did_you_mean(name, list(kwargs))
    )


_MOST_DIGITS = 10
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def to_float(value: float) -> float:
    """Return a number as a float; raise InputError where it is too large."""
    try:
        return float(value)
    except OverflowError:
        raise InputError("the int is too large for a float") from None


def truncated(value: float) -> int:
    """Return the int next to `value` in the direction of zero."""
    if value - value != 0:
        raise InputError(f"{float_text(value)} is not a finite number")
    return int(value)


def parse_int(text: str, base: int) -> int:
    """Return the int that `text` denotes in `base`, 0 for that of its prefix."""
    found = _INTEGER.fullmatch(text)
    digits = found[3].lower() if found else ""
    if found:
        prefix = (found[2] or "").lower()
        own = _PREFIXES.get(prefix, 10)
        if base == 0:
            base = own
            if not prefix and len(digits) > 1 and digits[0] == "0" and digits.strip("0"):
                digits = ""  # as in a literal, a leading zero would be read as octal
        elif prefix and base != own:
            digits = prefix[1:] + digits if prefix[1:] in _DIGITS[:base] else ""
    if not digits or not set(digits) <= set(_DIGITS[:base]):
        raise InputError(
            f"{quoted(text[:80])} is not an int" + (f" of base {base}" if base != _TEN else "")
        )
    if len(digits) * base.bit_length() > MAX_BITS:
        raise InputError(f"the int would have more than {MAX_BITS} bits")
    spend_on(len(digits) ** 2 >> 5)  # the time grows with the square
    value = _read(digits, base)
    return -value if found and found[1] == "-" else value


def _read(digits: str, base: int) -> int:
    if len(digits) <= _CHUNK:
        return int(digits, base)
    half = len(digits) // 2
    scale: int = base**half
    return _read(digits[:-half], base) * scale + _read(digits[-half:], base)


_TEN = 10
_CHUNK = 4000
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_INTEGER = re.compile(r"([+-]?)(0[xXoObB](?=[0-9a-zA-Z]))?([0-9a-zA-Z]+)")
_PREFIXES = {"0x": 16, "0o": 8, "0b": 2}


def parse_float(text: str) -> float:
    """Return the float that `text` denotes."""
    if not _FLOAT.fullmatch(text):
        raise InputError(f"{quoted(text[:80])} is not a number")
    value = float(text)
    if value - value != 0 and text[-1:].isdecimal():
        raise InputError(f"{quoted(text[:80])} is too large for a float")
    return value


_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE
)
