"""Targets as text: labels, places, BUILD calls, JSON."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlbuild import lang
from mlbuild.graph.package import Target
from mlbuild.graph.select import Choice, Select

_INDENT = "    "


def labels(targets: Iterable[Target]) -> list[str]:
    """Return the labels."""
    return [str(one.label) for one in targets]


def kinds(targets: Iterable[Target]) -> list[str]:
    """Return `train rule //models:lenet` for each."""
    return [f"{one.rule.name} rule {one.label}" for one in targets]


def locations(targets: Iterable[Target]) -> list[str]:
    """Return `models/BUILD.ml:3:1: train rule //models:lenet` for each."""
    return [f"{one.span}: {kind}" for one, kind in zip(targets, kinds(targets), strict=True)]


def calls(targets: Iterable[Target]) -> list[str]:
    """Return the lines of a BUILD.ml that declares the same, each macro replaced by its targets.

    Comments tell the place, and the macros that declared it, innermost first.
    """
    lines: list[str] = []
    for one in targets:
        lines += [""] if lines else []
        lines += [f"# {one.span}"]
        lines += [f"# in macro {name}, called at {span}" for name, span in one.macros()]
        lines += [f"{one.rule.name}("]
        for name, value in _written(one).items():
            lines += f"{_INDENT}{name} = {_source(value, 1)},".split("\n")
        lines += [")"]
    return lines


def objects(targets: Iterable[Target]) -> list[str]:
    """Return one JSON list with an object for each."""
    return [json.dumps([described(one) for one in targets], ensure_ascii=False)]


FORMS: Mapping[str, Callable[[Iterable[Target]], list[str]]] = {
    "label": labels,
    "label_kind": kinds,
    "location": locations,
    "build": calls,
    "json": objects,
}


def _written(target: Target) -> dict[str, Any]:
    """Return the attributes that the target was given, the name first."""
    common = {
        "visibility": list(target.visibility),
        "tags": list(target.tags),
        "licenses": list(target.licenses),
        "cache": target.cache,
    }
    every = common | target.attributes
    return {"name": target.label.name, **{name: every[name] for name in target.given}}


def _source(value: Any, depth: int) -> str:
    """Return a plain value or Select as BUILD.ml files write it, `depth` calls and lists deep."""
    if isinstance(value, Select):
        return f" {value.operator} ".join(_source(part, depth) for part in value.parts)
    if isinstance(value, Choice):
        if not value.no_match_error:
            return f"select({_branches(value, depth)})"
        message = f"no_match_error = {_source(value.no_match_error, 0)}"
        return _lines("select(", [_branches(value, depth + 1), message], ")", depth)
    if isinstance(value, dict):
        items = [f"{_source(key, 0)}: {_source(one, depth + 1)}" for key, one in value.items()]
        return _lines("{", items, "}", depth)
    if isinstance(value, list):
        return _lines("[", [_source(one, depth + 1) for one in value], "]", depth)
    return lang.repr_of(value)


def _branches(choice: Choice, depth: int) -> str:
    items = [f"{_source(key, 0)}: {_source(one, depth + 1)}" for key, one in choice.branches]
    return _lines("{", items, "}", depth)


def _lines(left: str, items: list[str], right: str, depth: int) -> str:
    """Return items between brackets, one a line where there are several."""
    if len(items) <= 1 and "\n" not in "".join(items):
        return left + "".join(items) + right
    inner = "".join(f"{_INDENT * (depth + 1)}{item},\n" for item in items)
    return f"{left}\n{inner}{_INDENT * depth}{right}"


def described(target: Target) -> dict[str, Any]:
    """Return a target as JSON has it."""
    return {
        "label": str(target.label),
        "rule": target.rule.name,
        "location": str(target.span),
        "macros": [{"name": name, "called": str(span)} for name, span in target.macros()],
        "attributes": {
            name: _plain(value)
            for name, value in target.attributes.items()
            if not name.startswith("_")
        },
        "visibility": target.visibility,
        "tags": target.tags,
        "licenses": target.licenses,
        "cache": target.cache,
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; a select is `{"select": {…}}`, several are parts."""
    if not isinstance(value, Select):
        return value
    parts = [
        {"select": dict(part.branches), "no_match_error": part.no_match_error}
        if isinstance(part, Choice)
        else part
        for part in value.parts
    ]
    return {"operator": value.operator, "parts": parts} if value.operator else parts[0]
