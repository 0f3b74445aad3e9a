"""The BUILD language: Starlark, compiled to Python code. It knows no target, file or action.

program = compile_file(source, "models/BUILD.ml", dialect=Dialect.BUILD)
module = execute(program, predeclared={...}, load=..., print=...)
"""

from mlbuild.lang.convert import (
    freeze,
    from_python,
    to_python,
)
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.evaluate import Module, builtin, call, execute
from mlbuild.lang.faults import (
    type_name,
)
from mlbuild.lang.program import VERSION, Load, Program, program_bytes, program_from
from mlbuild.lang.show import repr_of, str_of
from mlbuild.lang.thread import STEPS, call_span, call_stack
from mlbuild.lang.values import (
    Builtin,
    Dict,
    Function,
    List,
    Set,
    Struct,
    Value,
)


def compile_file(source: bytes, path: str, *, dialect: Dialect) -> Program:
    """Return the compiled form of a file; raise InputError where it is not the BUILD language.

    `path` is what messages call the file.
    """
    # Files are mostly found compiled, and the parser takes longer to import than they to run.
    from mlbuild.lang.compile import compile_source  # noqa: PLC0415

    return compile_source(source, path, dialect=dialect)


__all__ = [
    "STEPS",
    "VERSION",
    "Builtin",
    "Dialect",
    "Dict",
    "Function",
    "List",
    "Load",
    "Module",
    "Program",
    "Set",
    "Struct",
    "Value",
    "builtin",
    "call",
    "call_span",
    "call_stack",
    "compile_file",
    "execute",
    "freeze",
    "from_python",
    "program_bytes",
    "program_from",
    "repr_of",
    "str_of",
    "to_python",
    "type_name",
]
