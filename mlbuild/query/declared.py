"""Declared: what queries ask of the attributes of targets, and of who may see them."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from math import prod
from typing import Any

from mlbuild.core.label import Label
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.package import Target
from mlbuild.graph.schema import COMMON, LABELS, OUTPUTS
from mlbuild.graph.select import Choice, Select
from mlbuild.graph.visibility import EVERYONE, PackageGroup, sees
from mlbuild.query.details import Details, named_in, plain_values
from mlbuild.query.paths import Labels
from mlbuild.query.record import GENERATED, GROUP, RULES, full_label, name_of, package_of
from mlbuild.query.regex import compiled
from mlbuild.query.universe import Universe

_MOST = 1000  # combinations of selects that are looked at as a whole


class Declared:
    """The targets of a universe with their attributes, of each package when it is asked for."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self._details: dict[str, Details] = {}

    def target(self, label: str) -> Target | None:
        """Return a target, None for what is none."""
        if not self._universe.is_rule(label):
            return None
        return self._of(package_of(label)).targets[name_of(label)]

    def rules(self, labels: Iterable[str]) -> Iterator[tuple[str, Target]]:
        """Yield those of `labels` that are targets."""
        for label in labels:
            target = self.target(label)
            if target is not None:
                yield label, target

    def attr(self, name: str, regex: str, labels: Labels) -> Labels:
        """Return the targets whose attribute has a value that matches."""
        search = compiled(regex).search
        self._check_attribute(name, labels)
        return {
            label: None
            for label, target in self.rules(labels)
            if any(search(text) for text in texts(target, name))
        }

    def labels(self, name: str, labels: Labels) -> Labels:
        """Return what an attribute of the targets names."""
        self._check_attribute(name, labels)
        found: Labels = {}
        for label, target in self.rules(labels):
            if name in target.rule.attributes:
                for text in named_in(target, name):
                    named = full_label(text, target.label.package)
                    if self._universe.ensure(named, by=label):
                        found[named] = None
        return found

    def params(self, key: str, value: str, labels: Labels) -> Labels:
        """Return the targets with a parameter of this value; dots reach into nested ones."""
        wanted = _read(value)
        return {
            label: None
            for label, target in self.rules(labels)
            if "params" in target.rule.attributes
            and any(
                _same(one, value, wanted)
                for params in plain_values(target.attributes["params"])
                for one in _at(params, key.split("."))
            )
        }

    def tests(self, labels: Labels) -> Labels:
        """Return the checks: rules named `*_test`, those with gates, all that test_suites list."""
        found: Labels = {}
        seen: set[str] = set()
        pending = list(reversed(labels))
        while pending:
            label = pending.pop()
            target = self.target(label)
            if target is None or label in seen:
                continue
            seen.add(label)
            if target.rule.name == "test_suite":
                listed = self.labels("tests", {label: None}) if "tests" in target.given else {}
                rules = [one for one in listed if self._universe.is_rule(one)]
                found.update((one, None) for one in rules if self._rule(one) != "test_suite")
                pending += reversed([one for one in rules if self._rule(one) == "test_suite"])
            elif target.rule.name.endswith("_test") or _has_gates(target):
                found[label] = None
        return found

    def visible(self, seers: Labels, labels: Labels) -> Labels:
        """Return those of `labels` that the packages of all of `seers` may name."""
        packages = {package_of(one) for one in seers}
        return {
            label: None
            for label in labels
            if all(
                package == package_of(label) or sees(package, self.visibility(label), self._group)
                for package in packages
            )
        }

    def visibility(self, label: str) -> tuple[str, ...]:
        """Return who may name a label."""
        if label.startswith(RULES) or self._universe.kind(label) == GROUP:
            return EVERYONE
        if self._universe.kind(label) == GENERATED:
            label = self._universe.below(label)[0]
        target = self.target(label)
        if target is not None:
            return target.visibility
        return self._of(package_of(label)).shows(name_of(label))

    def _rule(self, label: str) -> str:
        return self._universe.kind(label).removesuffix(" rule")

    def _of(self, package: str) -> Details:
        found = self._details.get(package)
        if found is None:
            packed = self._universe.record(package).details
            found = self._details[package] = Details(package, packed)
        return found

    def _group(self, label: Label) -> PackageGroup:
        groups = self._of(label.package).groups
        if label.name not in groups:
            raise InputError(
                f"there is no package_group `{label}`", hints=did_you_mean(label.name, list(groups))
            )
        return groups[label.name]

    def _check_attribute(self, name: str, labels: Labels) -> None:
        """Raise InputError for an attribute that no rule has."""
        rules = {target.rule.name: target.rule for _, target in self.rules(labels)}
        if not rules or name in COMMON or any(name in one.attributes for one in rules.values()):
            return
        public = {one for rule in rules.values() for one in rule.public}
        known = {*public, *self._universe.attributes()}
        if name not in known:
            raise InputError(
                f"no rule has an attribute `{name}`",
                hints=did_you_mean(name, known)
                or (f"those of the targets are: {', '.join(sorted({*COMMON, *public}))}",),
            )


def _has_gates(target: Target) -> bool:
    return any(plain_values(target.attributes.get("gates")))


def texts(target: Target, name: str) -> Iterator[str]:
    """Yield the value of an attribute as text, in every form that it may have.

    As in Bazel, a list is `[a, b]`, a label stands in full, and a bool is `1` or `0`; it is `True`
    or `False` too. A JSON value is JSON. A select gives a text for each choice of branches.
    """
    common = {
        "name": ("string", target.label.name),
        "visibility": ("string_list", list(target.visibility)),
        "tags": ("string_list", list(target.tags)),
        "licenses": ("string_list", list(target.licenses)),
    }
    if name in common:
        yield from _shown(*common[name], package=target.label.package)
    elif name in target.rule.attributes:
        type_ = target.rule.attributes[name].type
        for value in _combined(target.attributes[name]):
            yield from _shown(type_, value, package=target.label.package)


def _combined(value: Any) -> Iterator[Any]:
    """Yield the values that an attribute may have; of very many, what they are joined from."""
    if not isinstance(value, Select):
        yield value
        return
    sides = [
        [one for _, one in part.branches] if isinstance(part, Choice) else [part]
        for part in value.parts
    ]
    if prod(map(len, sides)) > _MOST:
        yield from (one for side in sides for one in side)
        return
    join: Callable[[Any, Any], Any] = (
        (lambda left, right: left | right)
        if value.operator == "|"
        else (lambda left, right: left + right)
    )
    for first, *rest in islice(product(*sides), _MOST):
        joined = first
        for one in rest:
            joined = join(joined, one)
        yield joined


def _shown(type_: str, value: Any, *, package: str) -> Iterator[str]:
    """Yield a value as text."""

    def word(text: Any) -> str:
        is_label = type_ in LABELS or type_ in OUTPUTS
        return full_label(text, package) if is_label and text else str(text)

    if value is None:
        yield ""
    elif type_ == "json":
        yield json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        yield str(int(value))
        yield str(value)
    elif isinstance(value, list):
        yield f"[{', '.join(map(word, value))}]"
    elif isinstance(value, dict):
        yield "{" + ", ".join(f"{key}={word(one)}" for key, one in value.items()) + "}"
    else:
        yield word(value)


def _at(params: Any, keys: list[str]) -> Iterator[Any]:
    """Yield what stands at `keys` in nested dicts; a key may hold dots itself."""
    if not keys:
        yield params
    elif isinstance(params, dict):
        for count in range(1, len(keys) + 1):
            key = ".".join(keys[:count])
            if key in params:
                yield from _at(params[key], keys[count:])


def _read(text: str) -> Any:
    """Return the value that a word means: JSON, True, False and None, or the word itself."""
    python = {"True": True, "False": False, "None": None}
    if text in python:
        return python[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _same(value: Any, text: str, wanted: Any) -> bool:
    """Say whether a parameter has the value that a word means; of a list, one item may."""
    if isinstance(value, str):
        return value == text
    if isinstance(value, list) and not isinstance(wanted, list):
        return any(_same(one, text, wanted) for one in value)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    found: bool = value == wanted
    return found
