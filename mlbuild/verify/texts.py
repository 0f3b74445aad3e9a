"""Texts: where two texts differ, and by how much where their numbers do."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mlbuild.verify.arrays import shown
from mlbuild.verify.difference import Difference, within

_SHOWN = 120  # characters of a line
OTHERS = "*"  # in a tolerance: all metrics that it does not name


def json_differences(
    path: str, where: str, kept: Any, fresh: Any, *, tolerance: Mapping[str, float]
) -> list[Difference]:
    """Compare what two JSON texts say. Numbers that differ within `tolerance` are no difference."""
    return list(_values(path, where, "", kept, fresh, tolerance))


def _values(
    path: str, where: str, name: str, kept: Any, fresh: Any, tolerance: Mapping[str, float]
) -> Iterator[Difference]:
    place = within(where, f"`{name}`" if name else "")
    if _is_number(kept) and _is_number(fresh):
        if kept == fresh or (kept != kept and fresh != fresh):  # noqa: PLR0124 - NaN
            return
        distance = abs(fresh - kept)
        if distance <= tolerance.get(name, tolerance.get(OTHERS, -1.0)):
            return
        size = max(abs(kept), abs(fresh))
        relative = distance / size if size and math.isfinite(distance) else None
        what = f"it was {shown(kept)} and is {shown(fresh)}"
        yield Difference(path, "number", place, what, 1, 1, float(distance), relative)
    elif type(kept) is dict and type(fresh) is dict:
        for key in sorted({*kept, *fresh}):
            inner = f"{name}.{key}" if name else key
            if key in kept and key in fresh:
                yield from _values(path, where, inner, kept[key], fresh[key], tolerance)
            else:
                kind, what = ("missing", "gone") if key in kept else ("extra", "new")
                yield Difference(path, kind, within(where, f"`{inner}`"), f"it is {what}")
    elif type(kept) is list and type(fresh) is list and len(kept) == len(fresh):
        for index, (one, two) in enumerate(zip(kept, fresh, strict=True)):
            yield from _values(path, where, f"{name}[{index}]", one, two, tolerance)
    elif type(kept) is list and type(fresh) is list:
        what = f"it had {len(kept)} items and has {len(fresh)}"
        yield Difference(path, "text", place, what)
    elif kept != fresh or type(kept) is not type(fresh):
        what = f"it was {_cut(json.dumps(kept))} and is {_cut(json.dumps(fresh))}"
        yield Difference(path, "text", place, what)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


def text_difference(path: str, where: str, kept: str, fresh: str) -> Difference:
    """Say which line of two texts that differ is the first that does."""
    ours, theirs = kept.split("\n"), fresh.split("\n")
    pairs = list(zip(ours, theirs, strict=False))
    differing = [number for number, (one, two) in enumerate(pairs) if one != two]
    if not differing:
        what = f"it had {len(ours)} lines and has {len(theirs)}"
        return Difference(path, "text", where, what)
    if len(ours) == len(theirs) and sorted(ours) == sorted(theirs):
        what = f"the same lines in another order, from line {differing[0] + 1} on"
        return Difference(path, "order", where, what)
    first = differing[0]
    more = f", and {len(differing) - 1:,} more lines" if len(differing) > 1 else ""
    one, two = _around(ours[first], theirs[first])
    return Difference(
        path, "text", within(where, f"line {first + 1}"), f"it was `{one}` and is `{two}`{more}"
    )


def _around(one: str, two: str) -> tuple[str, str]:
    """Return the parts of two lines around the first character that differs."""
    if max(len(one), len(two)) <= _SHOWN:
        return one, two
    same = next(
        (at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )
    start = max(0, same - _SHOWN // 3)
    head = "…" if start else ""
    return head + _cut(one[start:]), head + _cut(two[start:])


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
