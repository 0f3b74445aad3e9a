"""The methods of strings, bytes, lists, dicts and sets."""

from collections.abc import Callable
from typing import Any

from mlbuild.errors import InputError
from mlbuild.lang.faults import (
    a_type,
    changeable,
    held,
    index_in,
)
from mlbuild.lang.iterate import is_iterable, iterate
from mlbuild.lang.show import (
    quoted,
    repr_of,
)
from mlbuild.lang.text import fill
from mlbuild.lang.thread import MAX_ITEMS, MAX_SIZE, check_size, spend, spend_on
from mlbuild.lang.values import (
    Dict,
    Elements,
    Key,
    List,
    Set,
    equal,
    key_of,
)

_MISSING: Any = object()


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise InputError(f"{what} takes a string, not {a_type(value)}")
    return value


def _bound(value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise InputError(f"a start or end is an int, not {a_type(value)}")
    bound: int | None = value
    return bound


def _between(text: str, start: Any, end: Any) -> tuple[str, int]:
    """Return text[start:end], and how much of `text` lies before it.

    Python's own methods know no empty text past the end; here, as in a slice, there is one.
    """
    if start is None and end is None:
        return text, 0
    first, last, _ = slice(_bound(start), _bound(end)).indices(len(text))
    return text[first:last], first


# Strings


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


def _splits(value: Any, text: str) -> int:
    if value is None:
        return -1
    if type(value) is not int:
        raise InputError(f"the number of splits is an int, not {a_type(value)}")
    return max(-1, min(value, len(text)))


def _string_split(text: str, sep: Any = None, maxsplit: Any = None, /) -> List:
    separator = None if sep is None else _separator(sep, "split")
    return List(text.split(separator, _splits(maxsplit, text)))


def _string_rsplit(text: str, sep: Any = None, maxsplit: Any = None, /) -> List:
    separator = None if sep is None else _separator(sep, "rsplit")
    return List(text.rsplit(separator, _splits(maxsplit, text)))


def _string_splitlines(text: str, keepends: Any = False, /) -> List:  # noqa: FBT002 - as in Python
    lines: list[str] = []
    start = 0
    while start < len(text):
        ends = [at for at in (text.find("\n", start), text.find("\r", start)) if at >= 0]
        if not ends:
            lines.append(text[start:])
            break
        end = min(ends)
        after = end + 2 if text.startswith("\r\n", end) else end + 1
        lines.append(text[start : after if keepends else end])
        start = after
    return List(lines)


# Bytes


def _bytes_elems(content: bytes, /) -> Elements:
    return Elements(content)


# Lists


def _list_append(into: List, value: Any, /) -> None:
    if into.held:
        raise held(into)
    into.elements.append(value)


def _list_clear(of: List, /) -> None:
    changeable(of)
    of.elements.clear()


def _list_index(of: List, value: Any, start: Any = None, end: Any = None, /) -> int:
    bounds = slice(_bound(start), _bound(end)).indices(len(of.elements))
    spend_on(len(of.elements))
    for index in range(*bounds):
        if equal(of.elements[index], value):
            return index
    raise InputError(f"the list does not contain {repr_of(value)}")


def _list_insert(into: List, index: Any, value: Any, /) -> None:
    changeable(into)
    if type(index) is not int:
        raise InputError(f"insert takes an int as its index, not {a_type(index)}")
    spend_on(len(into.elements))
    into.elements.insert(max(-len(into.elements), min(index, len(into.elements))), value)


def _list_pop(of: List, index: Any = -1, /) -> Any:
    changeable(of)
    if not of.elements:
        raise InputError("the list is empty")
    place = index_in(index, len(of.elements), of)
    spend_on(len(of.elements) - place)
    return of.elements.pop(place)


def _list_remove(of: List, value: Any, /) -> None:
    changeable(of)
    del of.elements[_list_index(of, value)]


def _list_extend(into: List, values: Any, /) -> None:
    extend(into, values)


def extend(into: List, values: Any) -> None:
    """Append all `values` to the list `into`."""
    changeable(into)
    found = values.elements if type(values) is List else list(iterate(values))
    check_size(len(into.elements) + len(found), limit=MAX_ITEMS, what="list")
    spend(len(found))
    into.elements += found


# Dicts


def _dict_clear(of: Dict, /) -> None:
    changeable(of)
    of.entries.clear()


def _dict_get(of: Dict, key: Any, default: Any = None, /) -> Any:
    return of.entries.get(key_of(key), default)


def _dict_items(of: Dict, /) -> List:
    spend_on(len(of.entries))
    return List(of.items())


def _dict_keys(of: Dict, /) -> List:
    spend_on(len(of.entries))
    return List(of.keys())


def _dict_values(of: Dict, /) -> List:
    spend_on(len(of.entries))
    return List(of.values())


def _dict_pop(of: Dict, key: Any, default: Any = _MISSING, /) -> Any:
    changeable(of)
    found = of.entries.pop(key_of(key), default)
    if found is _MISSING:
        raise InputError(f"there is no key {repr_of(key)} in the dict")
    return found


def _dict_popitem(of: Dict, /) -> tuple[Any, Any]:
    changeable(of)
    for key in of.entries:
        return (key.value if type(key) is Key else key, of.entries.pop(key))
    raise InputError("the dict is empty")


def _dict_setdefault(of: Dict, key: Any, default: Any = None, /) -> Any:
    changeable(of)
    return of.entries.setdefault(key_of(key), default)


def _dict_update(of: Dict, pairs: Any = None, /, **named: Any) -> None:
    changeable(of)
    of.entries.update(entries_of(pairs))
    of.entries.update(named)


def entries_of(pairs: Any) -> dict[Any, Any]:
    """Return the entries that a dict, an iterable of pairs or None stands for."""
    if pairs is None:
        return {}
    if type(pairs) is Dict:
        spend(len(pairs.entries))
        return pairs.entries
    found: dict[Any, Any] = {}
    for index, pair in enumerate(iterate(pairs)):
        items = list(iterate(pair)) if is_iterable(pair) else []
        if len(items) != 2:  # noqa: PLR2004 - a pair
            raise InputError(f"item {index} is no pair of a key and a value: {repr_of(pair)[:60]}")
        found[key_of(items[0])] = items[1]
    return found


# Sets


def keys_of(values: Any) -> dict[Any, None]:
    """Return `key_of` each of `values`, in order."""
    if type(values) is Set:
        spend(len(values.entries))
        return values.entries
    return dict.fromkeys(map(key_of, iterate(values)))


def _set_add(into: Set, value: Any, /) -> None:
    changeable(into)
    into.entries.setdefault(key_of(value))


def _set_clear(of: Set, /) -> None:
    changeable(of)
    of.entries.clear()


def _set_difference(of: Set, /, *others: Any) -> Set:
    spend_on(len(of.entries))
    gone: dict[Any, None] = {}
    for other in others:
        gone |= keys_of(other)
    return Set({key: None for key in of.entries if key not in gone})


def _set_difference_update(of: Set, /, *others: Any) -> None:
    changeable(of)
    of.entries = _set_difference(of, *others).entries


def _set_discard(of: Set, value: Any, /) -> None:
    changeable(of)
    of.entries.pop(key_of(value), None)


def _set_intersection(of: Set, /, *others: Any) -> Set:
    spend_on(len(of.entries))
    found = dict(of.entries)
    for other in others:
        keys = keys_of(other)
        found = {key: None for key in found if key in keys}
    return Set(found)


def _set_intersection_update(of: Set, /, *others: Any) -> None:
    changeable(of)
    of.entries = _set_intersection(of, *others).entries


def _set_isdisjoint(of: Set, other: Any, /) -> bool:
    spend_on(len(of.entries))
    return keys_of(other).keys().isdisjoint(of.entries)


def _set_issubset(of: Set, other: Any, /) -> bool:
    spend_on(len(of.entries))
    return of.entries.keys() <= keys_of(other).keys()


def _set_issuperset(of: Set, other: Any, /) -> bool:
    spend_on(len(of.entries))
    return of.entries.keys() >= keys_of(other).keys()


def _set_pop(of: Set, /) -> Any:
    changeable(of)
    for key in of.entries:
        del of.entries[key]
        return key.value if type(key) is Key else key
    raise InputError("the set is empty")


def _set_remove(of: Set, value: Any, /) -> None:
    changeable(of)
    key = key_of(value)
    if key not in of.entries:
        raise InputError(f"the set does not contain {repr_of(value)}")
    del of.entries[key]


def _set_symmetric_difference(of: Set, other: Any, /) -> Set:
    spend_on(len(of.entries))
    keys = keys_of(other)
    found = {key: None for key in of.entries if key not in keys}
    found.update({key: None for key in keys if key not in of.entries})
    return Set(found)


def _set_symmetric_difference_update(of: Set, other: Any, /) -> None:
    changeable(of)
    of.entries = _set_symmetric_difference(of, other).entries


def _set_union(of: Set, /, *others: Any) -> Set:
    spend_on(len(of.entries))
    found = dict(of.entries)
    for other in others:
        for key in keys_of(other):
            found.setdefault(key)
    return Set(found)


def _set_update(of: Set, /, *others: Any) -> None:
    changeable(of)
    of.entries = _set_union(of, *others).entries


def _named(prefix: str) -> dict[str, Callable[..., Any]]:
    """Return the functions of this module whose names start with `prefix`, by the rest."""
    return {
        name.removeprefix(prefix): found
        for name, found in globals().items()
        if name.startswith(prefix)
    }


METHODS: dict[type, dict[str, Callable[..., Any]]] = {
    str: _named("_string_"),
    bytes: _named("_bytes_"),
    List: _named("_list_"),
    Dict: _named("_dict_"),
    Set: _named("_set_"),
}
