"""The methods of strings and bytes: `_string_upper` is `upper` of a string."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import a_type
from mlbuild.lang.iterate import iterate
from mlbuild.lang.show import quoted
from mlbuild.lang.text import fill
from mlbuild.lang.thread import MAX_ITEMS, MAX_SIZE, check_size
from mlbuild.lang.values import Elements, List


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise InputError(f"{what} takes a string, not {a_type(value)}")
    return value


def bound(value: Any) -> int | None:
    """Return `value`, where a part starts or ends; raise InputError if it cannot be that."""
    if value is not None and type(value) is not int:
        raise InputError(f"a start or end is an int, not {a_type(value)}")
    found: int | None = value
    return found


def _between(text: str, start: Any, end: Any) -> tuple[str, int]:
    """Return text[start:end], and how much of `text` lies before it.

    Python's own methods know no empty text past the end; here, as in a slice, there is one.
    """
    if start is None and end is None:
        return text, 0
    first, last, _ = slice(bound(start), bound(end)).indices(len(text))
    return text[first:last], first


def _string_capitalize(text: str, /) -> str:
    return text[:1].upper() + text[1:].lower()


def _string_count(text: str, sub: Any, start: Any = None, end: Any = None, /) -> int:
    return _between(text, start, end)[0].count(_text(sub, "count"))


def _string_elems(text: str, /) -> Elements:
    return Elements(text)


def _affixes(value: Any, name: str) -> str | tuple[str, ...]:
    if type(value) is tuple:
        return tuple(_text(one, name) for one in value)
    if type(value) is not str:
        raise InputError(f"{name} takes a string or a tuple of strings, not {a_type(value)}")
    return value


def _string_endswith(text: str, suffix: Any, start: Any = None, end: Any = None, /) -> bool:
    return _between(text, start, end)[0].endswith(_affixes(suffix, "endswith"))


def _string_startswith(text: str, prefix: Any, start: Any = None, end: Any = None, /) -> bool:
    return _between(text, start, end)[0].startswith(_affixes(prefix, "startswith"))


def _string_find(text: str, sub: Any, start: Any = None, end: Any = None, /) -> int:
    part, before = _between(text, start, end)
    found = part.find(_text(sub, "find"))
    return found if found < 0 else found + before


def _string_rfind(text: str, sub: Any, start: Any = None, end: Any = None, /) -> int:
    part, before = _between(text, start, end)
    found = part.rfind(_text(sub, "rfind"))
    return found if found < 0 else found + before


def _string_index(text: str, sub: Any, start: Any = None, end: Any = None, /) -> int:
    return _found(_string_find(text, _text(sub, "index"), start, end), sub)


def _string_rindex(text: str, sub: Any, start: Any = None, end: Any = None, /) -> int:
    return _found(_string_rfind(text, _text(sub, "rindex"), start, end), sub)


def _found(index: int, sub: str) -> int:
    if index < 0:
        raise InputError(f"the string does not contain {quoted(sub)}")
    return index


def _string_format(text: str, /, *args: Any, **kwargs: Any) -> str:
    return fill(text, args, kwargs)


def _string_isalnum(text: str, /) -> bool:
    return text.isalnum()


def _string_isalpha(text: str, /) -> bool:
    return text.isalpha()


def _string_isdigit(text: str, /) -> bool:
    return text.isdigit()


def _string_islower(text: str, /) -> bool:
    return text.islower()


def _string_isspace(text: str, /) -> bool:
    return text.isspace()


def _string_istitle(text: str, /) -> bool:
    return text.istitle()


def _string_isupper(text: str, /) -> bool:
    return text.isupper()


def _string_join(text: str, parts: Any, /) -> str:
    found = list(iterate(parts))
    size = len(text) * len(found)
    for index, one in enumerate(found):
        if type(one) is not str:
            raise InputError(f"join takes strings, but item {index} is {a_type(one)}")
        size += len(one)
    check_size(size, limit=MAX_SIZE, what="string")
    return text.join(found)


def _string_lower(text: str, /) -> str:
    return text.lower()


def _string_upper(text: str, /) -> str:
    return text.upper()


def _string_title(text: str, /) -> str:
    return text.title()


def _string_strip(text: str, cutset: Any = None, /) -> str:
    return text.strip(None if cutset is None else _text(cutset, "strip"))


def _string_lstrip(text: str, cutset: Any = None, /) -> str:
    return text.lstrip(None if cutset is None else _text(cutset, "lstrip"))


def _string_rstrip(text: str, cutset: Any = None, /) -> str:
    return text.rstrip(None if cutset is None else _text(cutset, "rstrip"))


def _separator(value: Any, name: str) -> str:
    if not _text(value, name):
        raise InputError(f"{name} takes a separator that is not empty")
    return str(value)


def _string_partition(text: str, separator: Any, /) -> tuple[str, str, str]:
    return text.partition(_separator(separator, "partition"))


def _string_rpartition(text: str, separator: Any, /) -> tuple[str, str, str]:
    return text.rpartition(_separator(separator, "rpartition"))


def _string_removeprefix(text: str, prefix: Any, /) -> str:
    return text.removeprefix(_text(prefix, "removeprefix"))


def _string_removesuffix(text: str, suffix: Any, /) -> str:
    return text.removesuffix(_text(suffix, "removesuffix"))


def _string_replace(text: str, old: Any, new: Any, count: Any = -1, /) -> str:
    before, after = _text(old, "replace"), _text(new, "replace")
    if type(count) is not int:
        raise InputError(f"replace takes an int as its count, not {a_type(count)}")
    if len(after) > len(before):
        times = text.count(before)
        if count >= 0:
            times = min(times, count)
        check_size(len(text) + times * (len(after) - len(before)), limit=MAX_SIZE, what="string")
    return text.replace(before, after, min(count, len(text) + 1))


def _splits(value: Any) -> int:
    if value is None:
        return -1
    if type(value) is not int:
        raise InputError(f"the number of splits is an int, not {a_type(value)}")
    return max(-1, value)


def _parts(split: Callable[[Any, int], list[str]], separator: str | None, most: int) -> List:
    """Return the list that `split` makes, in as many splits as a list has room for."""
    limit = MAX_ITEMS if most < 0 else min(most, MAX_ITEMS)
    found = split(separator, limit)
    check_size(len(found) if most < 0 else 0, limit=MAX_ITEMS, what="list")
    return List(found)


def _string_split(text: str, sep: Any = None, maxsplit: Any = None, /) -> List:
    separator = None if sep is None else _separator(sep, "split")
    return _parts(text.split, separator, _splits(maxsplit))


def _string_rsplit(text: str, sep: Any = None, maxsplit: Any = None, /) -> List:
    separator = None if sep is None else _separator(sep, "rsplit")
    return _parts(text.rsplit, separator, _splits(maxsplit))


def _string_splitlines(text: str, keepends: Any = False, /) -> List:  # noqa: FBT002 - as in Python
    check_size(text.count("\n") + text.count("\r"), limit=MAX_ITEMS, what="list")
    lines: list[str] = []
    start = 0
    for end in _LINE_ENDS.finditer(text):
        lines.append(text[start : end.end() if keepends else end.start()])
        start = end.end()
    if start < len(text):
        lines.append(text[start:])
    return List(lines)


_LINE_ENDS = re.compile(r"\r\n|\r|\n")


def _bytes_elems(content: bytes, /) -> Elements:
    return Elements(content)


def named(prefix: str, functions: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Return those of `functions` whose names start with `prefix`, by the rest of the name."""
    return {
        name.removeprefix(prefix): found
        for name, found in functions.items()
        if name.startswith(prefix)
    }


STRING_METHODS = named("_string_", globals())
BYTES_METHODS = named("_bytes_", globals())
