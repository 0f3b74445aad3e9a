"""Tolerant: a Loader that tells of faults and reads on."""

from collections.abc import Callable
from copy import copy

from mlbuild import lang
from mlbuild.check.problem import Problem, Problems
from mlbuild.errors import InputError, Span
from mlbuild.graph.declare import RuleValue
from mlbuild.graph.files import read_source
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.graph.loader import Loader
from mlbuild.graph.package import Package
from mlbuild.graph.site import RULES
from mlbuild.lang.evaluate import undefined_names
from mlbuild.lang.rest import Rest, place_in, rest_of
from mlbuild.lang.unused import unused_loads
from mlbuild.workspace import Workspace

_MOST = 100  # faults of one BUILD.ml, after each of which it is run anew


class Tolerant(Loader):
    """Reads as much of each package as can be read; what is wrong goes to `problems`.

    A target that cannot be declared is left out, then the statements that fail and those that need
    what they define. Only a BUILD.ml that does not fit the grammar declares nothing at all.
    """

    def __init__(
        self, workspace: Workspace, *, code: str, say: Callable[[str], None], problems: Problems
    ) -> None:
        super().__init__(workspace, code=code, say=say)
        self._problems = problems
        self._failed: dict[str, InputError] = {}  # of .bzl files, by what they are called
        self._not_loaded: Span | None = None  # the load of the BUILD.ml that failed last
        self.site.on_fault = problems.fault

    def _evaluate(self, path: str) -> Package:
        try:
            return super()._evaluate(path)
        except InputError as error:
            self._problems.fault(error, kind="unreadable-file")
        package = Package(path, f"{path}/{BUILD_FILE}" if path else BUILD_FILE)
        package.whole = False
        return package

    def _run(self, program: lang.Program, path: str) -> Package:
        self._lint(program)
        rest: Rest | None = None
        say = self._say
        try:
            for _ in range(_MOST):
                try:
                    return _with_gaps(super()._run(program, path), rest, self._rules())
                except InputError as error:
                    self._problems.fault(error)
                    rest = self._without(error, rest, program.path)
                self._not_loaded = None
                self._say = _silent  # it has said so before
                if rest is None:
                    break
                program = rest.program()
        finally:
            self._say = say
        package = Package(path, program.path)
        package.whole = False
        return package

    def _without(self, error: InputError, rest: Rest | None, path: str) -> Rest | None:
        """Return a BUILD.ml without the statement that failed, None where that is not known."""
        place = self._not_loaded or place_in(error, path)
        if place is None:
            return None
        if rest is None:
            rest = rest_of(read_source(f"{self._root}/{path}", shown=path), path)
        return rest.leave_out(place)

    @property
    def _known(self) -> dict[str, object]:
        return {**self.prelude(), **self._builtins.build}

    def _rules(self) -> frozenset[str]:
        return frozenset(
            name for name, value in self.prelude().items() if isinstance(value, RuleValue)
        )

    def module(self, text: str, span: Span | None, *, package: str) -> lang.Module:
        """Return the module that `load(text)` names; its faults are found once."""
        try:
            return self._module(text, span, package=package)
        except InputError:
            here = self.site.package
            if span is not None and here is not None and span.path == here.file:
                self._not_loaded = Span(span.path, span.line, 0)
            raise

    def _module(self, text: str, span: Span | None, *, package: str) -> lang.Module:
        try:
            _, shown = self._module_path(text, span, package=package)
        except InputError as error:
            error.kind = error.kind or "bad-load"
            raise
        known = self._failed.get(shown)
        if known is not None:
            raise InputError(
                known.message,
                span=known.span,
                hints=known.hints,
                notes=known.notes,
                kind=known.kind,
            )
        try:
            return super().module(text, span, package=package)
        except InputError as error:
            error.kind = error.kind or "evaluation"
            self._failed[shown] = copy(error)  # whoever loads it adds to the notes
            raise

    def _compiled(self, source: bytes, path: str, *, dialect: lang.Dialect) -> lang.Program:
        try:
            program = super()._compiled(source, path, dialect=dialect)
        except InputError as error:
            error.kind = error.kind or "syntax"
            raise
        if dialect is lang.Dialect.BZL:
            self._lint(program)
        return program

    def _lint(self, program: lang.Program) -> None:
        """Tell of names that are not defined, and of those that are loaded in vain."""
        if program.path.startswith(RULES):
            return  # it is not the user's to change
        for error in undefined_names(program, predeclared=self._known):
            self._problems.fault(error)
        for name, span in unused_loads(program):
            self._problems.add(
                Problem(
                    "unused-load",
                    f"`{name}` is loaded but never used",
                    span,
                    hints=("remove it from the load",),
                )
            )


def _with_gaps(package: Package, rest: Rest | None, rules: frozenset[str]) -> Package:
    """Return `package`, with the names that statements which were left out may have declared."""
    texts = rest.texts(rules) if rest is not None else frozenset[str]()
    if texts is None:
        package.whole = False
    else:
        package.broken.update(texts)
    return package


def _silent(_: str) -> None:
    """Print nowhere."""
