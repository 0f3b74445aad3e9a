"""Values as text."""

from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.thread import MAX_SIZE, spend, spend_on
from mlbuild.lang.values import Dict, Elements, List, Range, Set, Struct, Value


def str_of(value: Any) -> str:
    """Return what `str(value)` is in the language."""
    if type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    return repr_of(value)


def repr_of(value: Any) -> str:
    """Return what `repr(value)` is in the language."""
    kind = type(value)
    if kind is str:
        spend_on(len(value))
        return quoted(value)
    if kind is int:
        return decimal(value)
    out = _Text()
    try:
        _write(value, out, [])
    except RecursionError:
        raise InputError("the value is nested too deeply") from None
    return "".join(out)


class _Text(list[str]):
    """The pieces of a text, and how long it is: a small value may have a long text."""

    def __init__(self) -> None:
        self.size = 0

    def say(self, text: str) -> None:
        """Append a piece."""
        self.size += len(text)
        if self.size > MAX_SIZE:
            raise InputError(f"the text of the value has more than {MAX_SIZE} characters")
        spend(1)
        self.append(text)


def _write(value: Any, out: _Text, above: list[int]) -> None:
    """Append the text of `value` to `out`; `above` are the ids of the values that it lies in."""
    kind = type(value)
    if kind is str:
        out.say(quoted(value))
    elif kind is int:
        out.say(decimal(value))
    elif kind is float:
        out.append(float_text(value))
    elif kind is bytes:
        out.say("b" + quoted_bytes(value))
    elif kind in _OPEN:
        if id(value) in above:
            out.append(_CYCLE[kind])
            return
        above.append(id(value))
        _write_items(value, out, above)
        above.pop()
    elif kind is Range:
        one = value.range
        if one.step != 1:
            out.append(f"range({one.start}, {one.stop}, {one.step})")
        else:
            out.append(f"range({one.start}, {one.stop})" if one.start else f"range({one.stop})")
    elif kind is Elements:
        out.say(repr_of(value.of) + ".elems()")
    elif isinstance(value, Value) and kind.__repr__ is _UNSHOWN:
        out.append(f"<{value.type_name}>")
    else:
        out.append(repr(value))


def _write_items(value: Any, out: _Text, above: list[int]) -> None:
    kind = type(value)
    left, right = _OPEN[kind]
    out.append(left)
    separator = ""
    if kind is Dict or kind is Struct:
        pairs = value.items() if kind is Dict else value.fields.items()
        for key, one in pairs:
            out.say(separator)
            if kind is Dict:
                _write(key, out, above)
                out.append(": ")
            else:
                out.say(f"{key} = ")
            _write(one, out, above)
            separator = ", "
    else:
        items = value if kind is tuple else value.elements() if kind is Set else value.elements
        for one in items:
            out.say(separator)
            _write(one, out, above)
            separator = ", "
        if kind is tuple and len(value) == 1:
            out.append(",")
        if kind is Set and not value.entries:
            out[-1], right = "set(", ")"
    out.say(right)


_UNSHOWN: Any = object.__repr__
_ASCII, _BASIC = 0x7F, 0xFFFF
_UNDECODED = range(0xDC80, 0xDD00)  # what stands for a byte that is no UTF-8
_OPEN = {
    List: ("[", "]"),
    tuple: ("(", ")"),
    Dict: ("{", "}"),
    Set: ("set([", "])"),
    Struct: ("struct(", ")"),
}
_CYCLE = {List: "[...]", tuple: "(...)", Dict: "{...}", Set: "set(...)", Struct: "struct(...)"}
_QUOTES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quoted(text: str) -> str:
    """Return `text` as a literal in double quotes."""
    shown = text.translate(_QUOTES)
    if shown.isprintable():
        return f'"{shown}"'
    return '"' + "".join(one if one.isprintable() else _escaped(one) for one in shown) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= _ASCII:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _BASIC else f"\\U{code:08x}"


def quoted_bytes(content: bytes) -> str:
    """Return `content` as the inside of a bytes literal, in double quotes."""
    text = content.decode("utf-8", "surrogateescape")
    shown = text.translate(_QUOTES)
    return (
        '"'
        + "".join(
            one
            if one.isprintable()
            else f"\\x{ord(one) - 0xDC00:02x}"
            if ord(one) in _UNDECODED
            else _escaped(one)
            for one in shown
        )
        + '"'
    )


def float_text(value: float) -> str:
    """Return the shortest text that denotes `value` and cannot be taken for an int."""
    if value != value:  # noqa: PLR0124 - NaN differs from itself
        return "nan"
    if value in {float("inf"), float("-inf")}:
        return "+inf" if value > 0 else "-inf"
    text = repr(value)
    if _PLAIN[0] <= abs(value) < _PLAIN[1] or not value:
        return text
    digits = text.partition("e")[0].replace(".", "").strip("-0")
    return format(value, f".{len(digits) - 1}e")


_PLAIN = (1e-4, 1e6)  # numbers beyond are written with an exponent, as `%g` of C does


def decimal(value: int) -> str:
    """Return the decimal digits of an int, also where they are more than Python writes at once."""
    if -_SHORT < value < _SHORT:
        return str(value)
    if value < 0:
        return "-" + decimal(-value)
    spend(value.bit_length())
    return _digits(value, value.bit_length() // 3 + 1).lstrip("0")


def _digits(value: int, width: int) -> str:
    """Return `value` with zeros in front, up to `width` digits."""
    if width <= _DIGITS:
        return str(value).rjust(width, "0")
    low = width // 2
    high, rest = divmod(value, 10**low)
    return _digits(high, width - low) + _digits(rest, low)


_DIGITS = 4000
_SHORT = 10**_DIGITS
