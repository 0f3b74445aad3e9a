"""Details: the targets of a package with all their attributes, as bytes and back."""

import marshal
from collections.abc import Iterable, Iterator
from typing import Any

from mlbuild.core.label import Label
from mlbuild.errors import Span
from mlbuild.graph.package import Package, Target, shown_to
from mlbuild.graph.schema import LABELS, OUTPUTS, Attribute, Rule
from mlbuild.graph.select import DEFAULT, Choice, Select, select_of
from mlbuild.graph.visibility import PackageGroup

Pair = tuple[str, str]  # attribute, and the text of a label in it


def pack(package: Package) -> bytes:
    """Return what `package` declares, for `Details`."""
    rules = {
        one.rule.name: {name: spec.type for name, spec in one.rule.attributes.items()}
        for one in package.targets.values()
    }
    targets = [
        (
            one.label.name,
            one.rule.name,
            {
                name: value.plain() if name in one.selects else value
                for name, value in one.attributes.items()
            },
            one.tags,
            _place(one.span),
            [(name, _place(span)) for name, span in one.stack],
            one.visibility,
            one.licenses,
            one.given,
            one.selects,
        )
        for one in package.targets.values()
    ]
    groups = [
        (one.label.name, one.packages, one.includes, _place(one.span))
        for one in package.groups.values()
    ]
    return marshal.dumps((rules, targets, groups, dict(package.exports), package.visibility))


class Details:
    """What a package declares, as it was when `packed` was made."""

    def __init__(self, path: str, packed: bytes) -> None:
        rules, targets, groups, exports, visibility = marshal.loads(packed)  # noqa: S302 - ours
        self.exports: dict[str, tuple[str, ...]] = exports
        self.visibility: tuple[str, ...] = visibility  # of files that say nothing else
        known = {name: _rule(name, attributes) for name, attributes in rules.items()}
        self.targets = {one[0]: _target(path, known[one[1]], one) for one in targets}
        self.groups = {
            name: PackageGroup(Label(path, name), packages, includes, Span(*span))
            for name, packages, includes, span in groups
        }

    def shows(self, file: str) -> tuple[str, ...]:
        """Return the visibility of a source file: of it, of a folder above, or the default."""
        return shown_to(file, self.exports, default=self.visibility)


def mentions(target: Target) -> Iterator[Pair]:
    """Yield every label that `target` names, in all branches of its selects, and their conditions.

    The text is as it was written.
    """
    for name, attribute in target.rule.attributes.items():
        value = target.attributes[name]
        if isinstance(value, Select):
            for branch in choices(value):
                yield from ((name, label) for label, _ in branch if label != DEFAULT)
        if attribute.type in LABELS:
            for one in plain_values(value):
                yield from ((name, text) for text in _texts(one))


def named_in(target: Target, attribute: str) -> Iterator[str]:
    """Yield the labels, as written, and the outputs that an attribute of `target` names."""
    kind = target.rule.attributes[attribute].type
    if kind in LABELS or kind in OUTPUTS:
        for value in plain_values(target.attributes[attribute]):
            yield from _texts(value)


def plain_values(value: Any) -> Iterator[Any]:
    """Yield a plain value, or those of all branches of a select and what they are joined with."""
    if not isinstance(value, Select):
        yield value
        return
    for part in value.parts:
        if isinstance(part, Choice):
            yield from (one for _, one in part.branches)
        else:
            yield part


def choices(value: Select) -> Iterator[tuple[tuple[str, Any], ...]]:
    """Yield the branches of each `select({…})` in a value."""
    yield from (part.branches for part in value.parts if isinstance(part, Choice))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,) if value else ()
    return value.values() if isinstance(value, dict) else value or ()


def _place(span: Span) -> tuple[str, int, int, int]:
    return span.path, span.line, span.column, span.length


def _rule(name: str, attributes: dict[str, str]) -> Rule:
    specs = {one: Attribute(type_, None) for one, type_ in attributes.items()}
    return Rule(specs, None, name=name)


def _target(path: str, rule: Rule, packed: tuple[Any, ...]) -> Target:
    name, _, values, tags, span, stack, visibility, licenses, given, selects = packed
    return Target(
        Label(path, name),
        rule,
        {one: select_of(value) if one in selects else value for one, value in values.items()},
        tuple(tags),
        Span(*span),
        tuple((caller, Span(*place)) for caller, place in stack),
        tuple(visibility),
        tuple(licenses),
        tuple(given),
        tuple(selects),
    )
