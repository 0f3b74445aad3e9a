"""Rest: a BUILD file without the statements that fail, so that the others can be run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import CodeType, TracebackType
from typing import Any

from mlbuild.errors import InputError, Span
from mlbuild.lang import syntax
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.program import Program
from mlbuild.lang.syntax import Name, Statement
from mlbuild.lang.thread import MODULE


@dataclass(frozen=True, slots=True)
class Rest:
    """The statements of a file that are left, and those that were left out."""

    path: str
    statements: tuple[Statement, ...]
    without: tuple[Statement, ...] = ()

    def program(self) -> Program:
        """Return what is left, compiled."""
        from mlbuild.lang.compile import compile_statements  # noqa: PLC0415 - start-up, as below

        return compile_statements(list(self.statements), self.path, dialect=Dialect.BUILD)

    def leave_out(self, place: Span) -> "Rest | None":
        """Return the rest without the statement at `place`, and without those that need its names.

        Of a load, only the name at `place` is left out, if it is the place of one. None where no
        statement is there.
        """
        line = place.line
        found = [one for one in self.statements if one.at[0] <= line <= one.at[2]]
        if not found:
            return None
        bad = found[0]
        kept = _without_name(bad, place) if isinstance(bad, syntax.LoadStatement) else None
        left = [kept if one is bad else one for one in self.statements]
        out = [*self.without, bad]
        lost = set(_bound(bad)) - set(_bound(kept) if kept else ())
        while lost:
            lost -= {name for one in left if one is not None for name in _bound(one)}
            needy = [one for one in left if one is not None and lost & set(_used(one))]
            lost = {name for one in needy for name in _bound(one)}
            left = [one for one in left if not any(one is other for other in needy)]
            out += needy
        return replace(self, statements=tuple(filter(None, left)), without=tuple(out))

    def texts(self, rules: frozenset[str]) -> frozenset[str] | None:
        """Return the strings in what was left out: names and outputs of targets are among them.

        None where a function was called that is not among `rules`: it may have declared anything.
        """
        found: set[str] = set()
        for one in self.without:
            if not isinstance(one, syntax.Expression) or not isinstance(one.value, syntax.Call):
                continue
            called = one.value.function
            if not isinstance(called, Name) or called.name not in rules:
                return None
            found.update(node.value for node in _nodes(one) if isinstance(node, syntax.String))
        return frozenset(found)


def rest_of(source: bytes, path: str) -> Rest:
    """Return all statements of a BUILD file; raise InputError where it does not fit the grammar."""
    # Files are mostly right, and the parser takes longer to import than they to run.
    from mlbuild.lang.parse import parse  # noqa: PLC0415

    return Rest(path, tuple(parse(source, path)))


def place_in(error: InputError, path: str) -> Span | None:
    """Return where the file `path` was when `error` came up in it or in what it called."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        code: CodeType = traceback.tb_frame.f_code
        if code.co_name == MODULE and code.co_filename == path:
            return Span(path, traceback.tb_lineno, 0)
        traceback = traceback.tb_next
    return error.span if error.span is not None and error.span.path == path else None


def _without_name(load: syntax.LoadStatement, place: Span) -> syntax.LoadStatement | None:
    """Return `load` without the name at `place`; None where nothing is left, or none is there."""
    names = [one for one in load.names if one.at[:2] != (place.line, place.column)]
    return load._replace(names=names) if names and len(names) < len(load.names) else None


def _bound(one: Statement) -> Iterator[str]:
    """Yield the names that a statement of a BUILD file binds."""
    if isinstance(one, syntax.LoadStatement):
        yield from (name.local for name in one.names)
    elif isinstance(one, syntax.Assign | syntax.Augment):
        yield from (node.name for node in _nodes(one.target) if isinstance(node, Name))


def _used(one: Statement) -> Iterator[str]:
    """Yield the names in a statement."""
    yield from (node.name for node in _nodes(one) if isinstance(node, Name))


def _nodes(tree: Any) -> Iterator[Any]:
    """Yield all nodes of a syntax tree."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple | list):
            yield node
            pending.extend(node)
