"""The methods of all types; those of lists, dicts and sets: `_list_append` is `append`."""

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
from mlbuild.lang.show import repr_of
from mlbuild.lang.text_methods import BYTES_METHODS, STRING_METHODS, bound, named
from mlbuild.lang.thread import MAX_ITEMS, check_size, spend, spend_on
from mlbuild.lang.values import (
    Dict,
    Key,
    List,
    Set,
    equal,
    key_of,
)

_MISSING: Any = object()


# Lists


def _list_append(into: List, value: Any, /) -> None:
    if into.held:
        raise held(into)
    into.elements.append(value)


def _list_clear(of: List, /) -> None:
    changeable(of)
    of.elements.clear()


def _list_index(of: List, value: Any, start: Any = None, end: Any = None, /) -> int:
    bounds = slice(bound(start), bound(end)).indices(len(of.elements))
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


METHODS: dict[type, dict[str, Callable[..., Any]]] = {
    str: STRING_METHODS,
    bytes: BYTES_METHODS,
    List: named("_list_", globals()),
    Dict: named("_dict_", globals()),
    Set: named("_set_", globals()),
}
