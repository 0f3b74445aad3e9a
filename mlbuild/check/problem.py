"""Problem: one thing that is wrong in a workspace, and the kinds of them that there are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlbuild.errors import InputError, Span

Severity = Literal["error", "warning"]
_MOST_NOTES = 8  # of one problem that shows in several ways


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem. Its name is stable: configurations of other tools have it."""

    severity: Severity
    doc: str


KINDS: Mapping[str, Kind] = {
    "syntax": Kind("error", "A BUILD.ml or .bzl file is not in the BUILD language."),
    "unreadable-file": Kind("error", "A BUILD.ml or .bzl file cannot be read."),
    "bad-load": Kind("error", "A load names a file or a name that does not exist, or itself."),
    "undefined-name": Kind("error", "A name is used that nothing defines."),
    "evaluation": Kind("error", "A call or an operation fails while a file is read."),
    "unknown-attribute": Kind("error", "A target is given an attribute that its rule lacks."),
    "missing-attribute": Kind("error", "A target lacks an attribute that its rule needs."),
    "wrong-attribute": Kind("error", "An attribute has a value that its rule does not take."),
    "duplicate-target": Kind("error", "Two targets of a package claim one name or output."),
    "bad-label": Kind("error", "A text is not a label."),
    "unknown-package": Kind("error", "A label names a folder without a BUILD.ml."),
    "unknown-target": Kind("error", "A label names a target that is not declared."),
    "missing-file": Kind("error", "A label names a file that does not exist."),
    "private-target": Kind("error", "A label names something that is not visible there."),
    "dependency-cycle": Kind("error", "A target depends on itself."),
    "bad-select": Kind("error", "A select has no branch for the flags, or two, or a wrong one."),
    "rule-refuses": Kind("error", "The implementation of a rule refuses a target."),
    "unused-load": Kind("warning", "A name is loaded and never used."),
    "undeclared-import": Kind(
        "warning",
        "A script imports a file of the workspace that is not among the inputs of its target.",
    ),
    "python-syntax": Kind("warning", "A script is not Python."),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `kind` is a name of KINDS, `target` a label or ""."""

    kind: str
    message: str
    span: Span | None = None
    hints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    target: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS[self.kind].severity

    def error(self) -> InputError:
        """Return the problem as what is drawn."""
        return InputError(self.message, span=self.span, hints=self.hints, notes=self.notes)


@dataclass(slots=True)
class Problems:
    """What was found so far. What is told twice is one problem, with the notes of both."""

    _found: dict[tuple[str, str, Span | None], list[Problem]] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        """Add one."""
        same = self._found.setdefault((problem.kind, problem.message, problem.span), [])
        if problem not in same:
            same.append(problem)

    def fault(self, error: InputError, *, kind: str = "evaluation", target: str = "") -> None:
        """Add what an error says; `kind` is for one that does not tell its own."""
        own = error.kind if error.kind in KINDS else kind
        self.add(Problem(own, error.message, error.span, error.hints, error.notes, target))

    def __bool__(self) -> bool:
        return bool(self._found)

    def sorted(self) -> tuple[Problem, ...]:
        """Return them by their places; those without one come first.

        Where something is an error, a warning about the same words is left out.
        """
        found = [_merged(same) for same in self._found.values()]
        wrong = {one.span for one in found if one.severity == "error"}
        kept = (one for one in found if one.severity == "error" or one.span not in wrong)
        return tuple(sorted(kept, key=_order))


def counts(problems: Iterable[Problem]) -> Mapping[Severity, int]:
    """Return how many problems of each severity there are."""
    found: dict[Severity, int] = {"error": 0, "warning": 0}
    for one in problems:
        found[one.severity] += 1
    return found


def _merged(same: list[Problem]) -> Problem:
    first = same[0]
    notes = list(dict.fromkeys(note for one in same for note in one.notes))
    if len(notes) > max(_MOST_NOTES, len(first.notes)):
        notes = [*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more places"]
    return Problem(first.kind, first.message, first.span, first.hints, tuple(notes), first.target)


def _order(one: Problem) -> tuple[Any, ...]:
    span = one.span
    if span is None:
        return ("", 0, 0, one.kind, one.message)
    return (span.path, span.line, span.column, one.kind, one.message)
