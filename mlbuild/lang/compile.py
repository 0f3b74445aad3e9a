"""From the bytes of a file to a Program."""

import marshal

from mlbuild.errors import InputError, Span
from mlbuild.lang import syntax
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.lexer import SyntaxFault
from mlbuild.lang.parse import parse, span_of
from mlbuild.lang.program import Load, Program
from mlbuild.lang.resolve import resolve
from mlbuild.lang.syntax import Statement
from mlbuild.lang.translate import translate

_DEEP = 60  # nodes: what is nested deeper is pointed at where Python gives up


def compile_source(source: bytes, path: str, *, dialect: Dialect) -> Program:
    """Return the Program of a file; raise InputError where it breaks the rules of the language."""
    return compile_statements(parse(source, path), path, dialect=dialect)


def compile_statements(statements: list[Statement], path: str, *, dialect: Dialect) -> Program:
    """Return the Program of what `parse` gave, or of a part of it; raise InputError likewise."""
    try:
        resolved = resolve(statements, dialect=dialect)
        code = translate(statements, path)
    except SyntaxFault as fault:
        raise InputError(fault.message, span=span_of(path, fault.at), hints=fault.hints) from None
    except (RecursionError, MemoryError):
        at = syntax.deepest(statements, limit=_DEEP) or (1, 1, 1, 2)
        raise InputError("this is nested too deeply", span=span_of(path, at)) from None
    except SyntaxError as error:
        raise InputError(
            "loops are nested too deeply",
            span=Span(path, error.lineno or 1, error.offset or 1),
            hints=("make functions of the inner loops",),
        ) from None
    free = tuple((name, at[0], at[1], len(name)) for name, at in resolved.free.items())
    content = (code, free, tuple(resolved.bound), _doc(statements))
    return Program(path, marshal.dumps(content), tuple(_loads(statements, path)), dialect)


def _doc(statements: list[Statement]) -> str:
    first = statements[0] if statements else None
    if isinstance(first, syntax.Expression) and isinstance(first.value, syntax.String):
        return first.value.value
    return ""


def _loads(statements: list[Statement], path: str) -> list[Load]:
    return [
        Load(
            one.module,
            span_of(path, one.module_at),
            tuple((name.local, name.exported, span_of(path, name.at)) for name in one.names),
        )
        for one in statements
        if isinstance(one, syntax.LoadStatement)
    ]
