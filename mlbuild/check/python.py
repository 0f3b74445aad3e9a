"""What a Python file imports, read from its syntax tree: nothing is run."""

import ast
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_OPTIONAL = frozenset({"ImportError", "ModuleNotFoundError", "Exception"})

At = tuple[int, int, int]  # line and column from 1, length


@dataclass(frozen=True, slots=True)
class Import:
    """`import module`, or `from module import name`. `level` counts the dots in front."""

    module: str
    name: str  # "" without `from`
    level: int
    at: At


@dataclass(frozen=True, slots=True)
class Script:
    """What one file imports, and which names it defines at its top level."""

    imports: tuple[Import, ...] = ()
    names: frozenset[str] = frozenset()
    fault: str = ""  # why it is not Python
    fault_at: At = (1, 1, 1)


def read_script(source: bytes) -> Script:
    """Return what a file imports that Python can read, else why it cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        return Script(fault=error.msg, fault_at=(error.lineno or 1, max(error.offset or 1, 1), 1))
    except (ValueError, RecursionError, MemoryError) as error:
        return Script(fault=str(error) or "it is nested too deeply")
    lines = source.decode("utf-8", "replace").split("\n")
    return Script(tuple(_imports(tree.body, lines)), frozenset(_names(tree.body)))


def _imports(body: Iterable[ast.stmt], lines: Sequence[str]) -> Iterator[Import]:
    """Yield the imports that running `body` may need, those in functions among them."""
    for one in body:
        match one:
            case ast.Import():
                for alias in one.names:
                    yield Import(alias.name, "", 0, _at(alias, alias.name, lines))
            case ast.ImportFrom():
                for alias in one.names:
                    name = "" if alias.name == "*" else alias.name
                    at = _at(alias, alias.name, lines)
                    yield Import(one.module or "", name, one.level, at)
            case ast.If() if _is_type_checking(one.test):
                yield from _imports(one.orelse, lines)
            case ast.Try() if any(map(_is_optional, one.handlers)):
                for part in (one.orelse, one.finalbody):
                    yield from _imports(part, lines)
            case _:
                for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                    for part in getattr(one, name, ()):
                        inner = part.body if hasattr(part, "body") else ()
                        is_statement = isinstance(part, ast.stmt)
                        yield from _imports([part] if is_statement else inner, lines)


def _is_type_checking(test: ast.expr) -> bool:
    """Say whether a condition is `TYPE_CHECKING`: what stands below it is never run."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _is_optional(handler: ast.ExceptHandler) -> bool:
    """Say whether a script goes on without what it cannot import."""
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(one, ast.Name) and one.id in _OPTIONAL for one in types)


def _names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements define at the top level of a file."""
    for one in body:
        match one:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield one.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in one.names)
            case ast.Assign():
                targets = (node for target in one.targets for node in ast.walk(target))
                yield from (node.id for node in targets if isinstance(node, ast.Name))
            case ast.AnnAssign():
                yield from (one.target.id,) if isinstance(one.target, ast.Name) else ()
            case ast.If() | ast.Try():
                yield from _names([*one.body, *one.orelse])
            case _:
                pass


def _at(alias: ast.alias, word: str, lines: Sequence[str]) -> At:
    """Return the place of an imported name; Python counts its columns in bytes."""
    line = lines[alias.lineno - 1] if alias.lineno <= len(lines) else ""
    column = len(line.encode()[: alias.col_offset].decode("utf-8", "replace"))
    return (alias.lineno, column + 1, len(word))
