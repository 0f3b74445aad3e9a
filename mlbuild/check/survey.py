"""Survey: an Analyzer that tells of faults and goes on with what does not depend on them."""

from collections.abc import Iterable, Iterator
from typing import Any

from mlbuild.check.problem import Problems
from mlbuild.core.label import Label
from mlbuild.errors import InputError
from mlbuild.graph.analyze import Analyzed, Analyzer
from mlbuild.graph.conditions import Flags
from mlbuild.graph.package import Target, Unsure
from mlbuild.graph.resolve import Resolver, SourceFile, TargetOutput
from mlbuild.graph.schema import LABELS
from mlbuild.graph.select import Choice, Select
from mlbuild.graph.site import RULES


class Survey(Analyzer):
    """Analyses what can be; what is wrong goes to `problems`, once, where it begins."""

    def __init__(self, resolver: Resolver, *, flags: Flags, problems: Problems) -> None:
        super().__init__(resolver, flags=flags)
        self._problems = problems
        self._broken: set[Label] = set()  # targets with a fault, and those that need them
        self._needs: dict[Label, list[Label]] = {}

    def analyze(self, wanted: Iterable[Label]) -> list[Analyzed]:
        """Return what the targets give that nothing is wrong with, dependencies first."""
        found: list[Analyzed] = []
        for target in self._order(wanted):
            if not self._broken.isdisjoint(self._needs[target.label]):
                self._broken.add(target.label)
            if target.label in self._broken:
                continue
            try:
                found.append(self._analyze(target))
            except InputError as error:
                self._fault(error, target, kind="rule-refuses")
            else:
                self._done[target.label] = found[-1]
        return found

    @property
    def seen(self) -> int:
        """How many targets were looked at, those with faults among them."""
        return len(self._needs)

    def _order(self, wanted: Iterable[Label]) -> list[Target]:
        """Return all needed targets whose selects can be settled, dependencies first."""
        order: list[Target] = []
        state: dict[Label, bool] = {}  # True: done; False: on the path
        for root in wanted:
            path: list[tuple[Target, Iterator[tuple[str, Target]]]] = []
            if root not in state:
                self._begin(self._resolver.target(root), path, state)
            while path:
                target, rest = path[-1]
                found = next(rest, None)
                if found is None:
                    path.pop()
                    state[target.label] = True
                    order.append(target)
                    continue
                text, below = found
                self._needs[target.label].append(below.label)
                if below.label not in state:
                    self._begin(below, path, state)
                elif not state[below.label]:
                    self._tell_cycle([one for one, _ in path], text, below.label)
        return order

    def _begin(
        self,
        target: Target,
        path: list[tuple[Target, Iterator[tuple[str, Target]]]],
        state: dict[Label, bool],
    ) -> None:
        """Put `target` on the path, unless its selects cannot be settled."""
        state[target.label] = False
        self._needs[target.label] = []
        for text in _branches(target):
            self._checked(target, text, attribute="")
        try:
            settled = self._settled(target) if target.selects else target
        except InputError as error:
            self._fault(error, target, kind="bad-select")
            state[target.label] = True
            return
        path.append((settled, self._below(settled)))

    def _below(self, target: Target) -> Iterator[tuple[str, Target]]:
        """Yield the labels of `target` that lead to targets, and those."""
        for attribute, text in target.named():
            found = self._checked(target, text, attribute=attribute)
            if isinstance(found, TargetOutput):
                yield text, found.target
            elif isinstance(found, Target):
                yield text, found

    def _checked(
        self, target: Target, text: str, *, attribute: str
    ) -> Target | TargetOutput | SourceFile | None:
        """Return what a label of `target` names; None, and its fault is told, where it does not."""
        try:
            found = self._find(target, text)
        except InputError as error:
            self._fault(error, target, kind="bad-label")
            return None
        if not attribute.startswith("_"):
            try:
                self._check_visible(target, text, found)
            except InputError as error:
                self._fault(error, target, kind="private-target")
        return found

    def _tell_cycle(self, path: list[Target], text: str, below: Label) -> None:
        """Tell of the cycle that ends where `text` of the last target of `path` names `below`."""
        labels = [one.label for one in path]
        names = [str(one) for one in (*labels[labels.index(below) :], below)]
        target = path[-1]
        hint = "a target cannot have the name of a file that it reads"
        error = InputError(
            "dependency cycle: " + " → ".join(names),
            span=self._place(target, text),
            hints=(hint,) if len(set(names)) == 1 else (),
        )
        self._fault(error, target, kind="dependency-cycle")

    def _fault(self, error: InputError, target: Target, *, kind: str) -> None:
        """Tell of a fault of `target`, and note that it has one."""
        self._broken.add(target.label)
        if isinstance(error, Unsure):
            return
        if error.span is not None and error.span.path.startswith(RULES):
            error.notes = (f"raised at {error.span}", *error.notes)
            error.span = target.span  # the rule library is not the user's to change
        self._problems.fault(error, kind=kind, target=str(target.label))


def _branches(target: Target) -> Iterator[str]:
    """Yield the labels in all branches of the selects of `target`."""
    for name in target.selects:
        value = target.attributes[name]
        if target.rule.attributes[name].type in LABELS and isinstance(value, Select):
            for part in value.parts:
                values = [one for _, one in part.branches] if isinstance(part, Choice) else [part]
                for one in values:
                    yield from _labels(one)


def _labels(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return value.values() if isinstance(value, dict) else value or ()
