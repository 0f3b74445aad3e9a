"""Evaluate: from an expression to the labels that it stands for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from mlbuild.errors import InputError, did_you_mean, near
from mlbuild.query import packages, paths
from mlbuild.query.functions import FUNCTIONS
from mlbuild.query.parse import place_of
from mlbuild.query.paths import Labels
from mlbuild.query.record import RULES, order, package_of
from mlbuild.query.regex import compiled
from mlbuild.query.syntax import Call, Chain, Expression, Let, SetOf, Token, Variable, Word
from mlbuild.query.universe import Universe

Some = tuple[str, ...]  # labels that a question is about; empty for the whole workspace


@dataclass(frozen=True, slots=True)
class Answers:
    """What only the caller can say: labels of targets."""

    affected: Callable[[str], Iterable[str]]  # by a revision
    stale: Callable[[Some], Iterable[str]]
    cached: Callable[[Some], Iterable[str]]


class Attributes(Protocol):
    """What only the attributes of targets tell, see `declared.Declared`."""

    def attr(self, name: str, regex: str, labels: Labels) -> Labels:
        """Return the targets whose attribute has a value that matches."""
        ...

    def labels(self, name: str, labels: Labels) -> Labels:
        """Return what an attribute of the targets names."""
        ...

    def params(self, key: str, value: str, labels: Labels) -> Labels:
        """Return the targets with a parameter of this value."""
        ...

    def tests(self, labels: Labels) -> Labels:
        """Return the checks among targets."""
        ...

    def visible(self, seers: Labels, labels: Labels) -> Labels:
        """Return those of `labels` that the packages of all of `seers` may name."""
        ...


class Evaluator:
    """Evaluates the expressions of the query `text`; patterns are seen from `package`.

    What is wrong is an InputError that points into the query, or into the file that is at fault.
    """

    def __init__(self, universe: Universe, answers: Answers, *, text: str, package: str) -> None:
        self._universe = universe
        self._answers = answers
        self._text = text
        self._package = package
        self._declared: Attributes | None = None

    def evaluate(self, expression: Expression) -> Labels:
        """Return the labels that a query stands for, in the order in which they were found."""
        return self._value(expression, {})

    def _value(self, expression: Expression, variables: Mapping[str, Labels]) -> Labels:
        match expression:
            case Word(token):
                return dict.fromkeys(self._matching(token))
            case Variable(name, token):
                if name not in variables:
                    raise self._at(_unknown(name, variables), token)
                return variables[name]
            case SetOf(words):
                return dict.fromkeys(label for word in words for label in self._matching(word))
            case Chain():
                return self._joined(expression, variables)
            case Let(name, value, body):
                return self._value(body, {**variables, name.text: self._value(value, variables)})
            case Call():
                return self._called(expression, variables)
            case _:
                assert_never(expression)

    def _joined(self, chain: Chain, variables: Mapping[str, Labels]) -> Labels:
        found = self._value(chain.first, variables)
        for operator, side in chain.rest:
            other = self._value(side, variables)
            if operator == "+":
                found = found | other
            elif operator == "-":
                found = {label: None for label in found if label not in other}
            else:
                found = {label: None for label in found if label in other}
        return found

    def _called(self, call: Call, variables: Mapping[str, Labels]) -> Labels:
        name = call.name.text
        given: list[Any] = []
        for index, argument in enumerate(call.arguments):
            kind = FUNCTIONS[name].parameter(index).kind
            if kind == "set":
                given.append(self._value(argument, variables))
            else:
                assert isinstance(argument, Word), "`functions.checked` has seen to it"
                text = argument.token.text
                given.append(int(text) if kind == "number" else text)
        try:
            function: Callable[..., Labels] = getattr(self, f"_{name}")
            return function(*given)
        except InputError as error:
            raise self._at(error, call.name) from None

    def _matching(self, token: Token) -> list[str]:
        try:
            return self._universe.matching(token.text, package=self._package)
        except InputError as error:
            name = near(token.text, list(FUNCTIONS))
            if name is not None and token.text.isidentifier():
                shown = FUNCTIONS[name].shown(name)
                error.hints = (*error.hints, f"did you mean the function `{name}`? it is `{shown}`")
            raise self._at(error, token) from None

    def _at(self, error: InputError, token: Token) -> InputError:
        """Return `error`, pointing at a word of the query where it points nowhere yet."""
        if error.span is None:
            error.span = place_of(self._text, token.start, token.end)
            error.source = self._text
        return error

    # What can be reached

    def _deps(self, labels: Labels, depth: int | None = None) -> Labels:
        return paths.closure(labels, self._universe.below, depth=depth)

    def _rdeps(self, universe: Labels, labels: Labels, depth: int | None = None) -> Labels:
        return paths.rdeps(universe, labels, self._universe.below, depth)

    def _allrdeps(self, labels: Labels, depth: int | None = None) -> Labels:
        whole = self._universe.matching("//...")
        return paths.rdeps(whole, labels, self._universe.below, depth)

    def _allpaths(self, starts: Labels, ends: Labels) -> Labels:
        return paths.all_paths(starts, ends, self._universe.below)

    def _somepath(self, starts: Labels, ends: Labels) -> Labels:
        first = sorted(starts, key=order)
        return paths.some_path(first, ends, lambda one: sorted(self._universe.below(one)))

    def _same_pkg_direct_rdeps(self, labels: Labels) -> Labels:
        below = self._universe.below
        return {
            label: None
            for package in dict.fromkeys(package_of(one) for one in labels)
            if package != package_of(RULES)
            for label in self._universe.members(package)
            if any(one in labels and package_of(one) == package for one in below(label))
        }

    def _inputs(self, labels: Labels) -> Labels:
        return {
            label: None
            for label in self._deps(labels)
            if self._universe.kind(label) == "source file" and not label.startswith(RULES)
        }

    # What is chosen

    def _kind(self, regex: str, labels: Labels) -> Labels:
        search, kind = compiled(regex).search, self._universe.kind
        return {label: None for label in labels if search(kind(label))}

    def _filter(self, regex: str, labels: Labels) -> Labels:
        search = compiled(regex).search
        return {label: None for label in labels if search(label)}

    def _some(self, labels: Labels, count: int = 1) -> Labels:
        if not labels:
            raise InputError("`some` has nothing to choose from: its argument is empty")
        return dict.fromkeys(sorted(labels, key=order)[:count])

    def _attr(self, name: str, regex: str, labels: Labels) -> Labels:
        return self._attributes().attr(name, regex, labels)

    def _labels(self, name: str, labels: Labels) -> Labels:
        return self._attributes().labels(name, labels)

    def _params(self, key: str, value: str, labels: Labels) -> Labels:
        return self._attributes().params(key, value, labels)

    def _tests(self, labels: Labels) -> Labels:
        return self._attributes().tests(labels)

    def _visible(self, seers: Labels, labels: Labels) -> Labels:
        return self._attributes().visible(seers, labels)

    def _attributes(self) -> Attributes:
        """Return the attributes of targets, which most queries do not look at."""
        if self._declared is None:
            from mlbuild.query.declared import Declared  # noqa: PLC0415 - start-up

            self._declared = Declared(self._universe)
        return self._declared

    # Files and packages

    def _siblings(self, labels: Labels) -> Labels:
        return packages.siblings(self._universe, labels)

    def _buildfiles(self, labels: Labels) -> Labels:
        return packages.buildfiles(self._universe, labels)

    def _loadfiles(self, labels: Labels) -> Labels:
        return packages.loadfiles(self._universe, labels)

    def _rbuildfiles(self, *files: str) -> Labels:
        return packages.rbuildfiles(self._universe, files, package=self._package)

    def _owner(self, file: str) -> Labels:
        return packages.owner(self._universe, file, package=self._package)

    # What the caller knows

    def _affected(self, revision: str) -> Labels:
        return self._ours(self._answers.affected(revision))

    def _stale(self, labels: Labels | None = None) -> Labels:
        return self._told(self._answers.stale, labels)

    def _cached(self, labels: Labels | None = None) -> Labels:
        return self._told(self._answers.cached, labels)

    def _told(self, answer: Callable[[Some], Iterable[str]], labels: Labels | None) -> Labels:
        """Return what the caller says of the targets among `labels`, or of all."""
        if labels is None:
            return self._ours(answer(()))
        asked = tuple(label for label in labels if self._universe.is_rule(label))
        found = set(answer(asked)) if asked else set()
        return {label: None for label in labels if label in found}

    def _ours(self, labels: Iterable[str]) -> Labels:
        """Return those of `labels` that are targets as the files are now."""
        targets = dict.fromkeys(self._universe.matching("//..."))
        return dict.fromkeys(sorted((one for one in labels if one in targets), key=order))


def _unknown(name: str, variables: Mapping[str, Labels]) -> InputError:
    return InputError(
        f"no `let` defines `${name}`",
        hints=did_you_mean(name, list(variables)) or (f"write `let {name} = … in …`",),
    )
