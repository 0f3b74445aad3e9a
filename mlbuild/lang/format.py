"""One layout for BUILD.ml and .bzl files: that of buildifier. It never changes what a file says."""

from itertools import pairwise
from typing import Any

from mlbuild.errors import InputError, Span
from mlbuild.lang import syntax
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.format_layout import layout
from mlbuild.lang.format_order import SORTED, ordered
from mlbuild.lang.format_read import read
from mlbuild.lang.format_words import comment_words
from mlbuild.lang.parse import parse
from mlbuild.lang.syntax import At, Statement


def formatted(source: bytes, path: str, *, dialect: Dialect) -> bytes:
    """Return the text of a file in its one layout; what is laid out already is returned as it is.

    Raises InputError where `source` does not fit the grammar. `path` is what messages call it.
    """
    statements = parse(source, path)
    text = source.decode().replace("\r\n", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    try:
        found = layout(ordered(read(text), dialect), _wrapped(statements), dialect=dialect)
    except RecursionError:
        raise InputError("this is nested too deeply to format", span=Span(path, 1, 1)) from None
    result = found.encode()
    if result != source:
        assert _meaning(parse(result, path)) == _meaning(statements), f"{path} has changed"
        assert comment_words(found) == comment_words(text), f"the comments of {path} have changed"
    return result


def _wrapped(statements: list[Statement]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return where operations that go on on another line start, and where they end."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    pending: list[Any] = [statements]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple | list):
            pending += [one for one in node if isinstance(one, tuple | list)]
        operands: tuple[Any, ...] = ()
        if isinstance(node, syntax.Binary):
            operands = (node.left, node.right)
        elif isinstance(node, syntax.Conditional):
            operands = (node.then, node.condition, node.otherwise)
        ats: list[At] = [operand.at for operand in operands]
        if any(left[2] != right[0] for left, right in pairwise(ats)):
            start, end = ats[0][:2], ats[-1][2:]
            found[start] = max(end, found.get(start, end))
    return found


def _meaning(statements: list[Statement]) -> list[object]:
    """Return what a file says: its tree without places, what may change its order in one order."""
    found: list[object] = []
    pending: list[tuple[Any, bool]] = [(_in_order(statements), False)]
    while pending:
        node, is_sorted = pending.pop()
        if isinstance(node, syntax.ListExpr) and is_sorted:
            node = node._replace(items=sorted(node.items, key=_label))
        elif isinstance(node, syntax.Call):
            node = node._replace(arguments=sorted(node.arguments, key=_is_attribute))
        elif isinstance(node, syntax.LoadStatement):
            node = node._replace(names=sorted(node.names))
        if not isinstance(node, tuple | list):
            found.append((type(node), node))
            continue
        found.append((type(node), len(node)))
        below = is_sorted and isinstance(node, syntax.Binary)
        below = below or (isinstance(node, syntax.Argument) and node.name in SORTED)
        fields = getattr(node, "_fields", ("",) * len(node))
        children = [
            child for name, child in zip(fields, node, strict=True) if not name.endswith("at")
        ]
        pending += [(child, below) for child in reversed(children)]
    return found


def _in_order(statements: list[Statement]) -> list[Statement]:
    """Return `statements` with the loads, which stand at the top, in one order."""
    loads = [one for one in statements if isinstance(one, syntax.LoadStatement)]
    others = [one for one in statements if not isinstance(one, syntax.LoadStatement)]
    loads.sort(
        key=lambda one: (one.module, sorted((name.local, name.exported) for name in one.names))
    )
    return [*loads, *others]


def _label(item: syntax.Expr) -> tuple[bool, str]:
    plain = isinstance(item, syntax.String)
    return (plain, item.value if isinstance(item, syntax.String) else "")


def _is_attribute(argument: syntax.Argument) -> bool:
    """Say whether an argument follows `name` in the one order."""
    return argument.kind != "" and argument.name != "name"
