"""SARIF 2.1.0: problems as code hosts and editors take them."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from mlbuild import __version__
from mlbuild.check.problem import KINDS, Problem
from mlbuild.workspace import MARKER

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "WORKSPACE"
_ORDER = {name: index for index, name in enumerate(KINDS)}


def sarif_log(problems: Iterable[Problem], root: str) -> dict[str, Any]:
    """Return a SARIF log with one run; `root` is the absolute folder of the workspace."""
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "mlbuild",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "rules": [_rule(name) for name in KINDS],
                    }
                },
                "originalUriBaseIds": {_ROOT: {"uri": f"file://{quote(root.rstrip('/'))}/"}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(one) for one in problems],
            }
        ],
    }


def _rule(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    return {
        "id": name,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "shortDescription": {"text": kind.doc},
        "fullDescription": {"text": kind.doc},
        "help": {"text": f"{kind.doc} See `mlbuild check` in docs/cli.md."},
        "defaultConfiguration": {"level": kind.severity},
        "properties": {"tags": ["build"]},
    }


def _result(one: Problem) -> dict[str, Any]:
    lines = [one.message, *(f"hint: {hint}" for hint in one.hints)]
    lines += [f"note: {note}" for note in one.notes]
    result: dict[str, Any] = {
        "ruleId": one.kind,
        "ruleIndex": _ORDER[one.kind],
        "level": one.severity,
        "message": {"text": "\n".join(lines)},
        "locations": [{"physicalLocation": _location(one)}],
    }
    if one.target:
        result["properties"] = {"target": one.target}
    return result


def _location(one: Problem) -> dict[str, Any]:
    """Return where a problem is shown: at the workspace's own file where it has no place in it."""
    span = one.span
    inside = span is not None and not span.path.startswith("@")
    path = span.path if span is not None and inside else MARKER
    region = {"startLine": 1}
    if span is not None and inside:
        region = {
            "startLine": span.line,
            "startColumn": span.column,
            "endColumn": span.column + max(span.length, 1),
        }
    return {"artifactLocation": {"uri": quote(path), "uriBaseId": _ROOT}, "region": region}
