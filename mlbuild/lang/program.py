"""Program: a compiled file, as it is kept and run."""

import marshal
import sys
import zlib
from dataclasses import dataclass

from mlbuild.errors import Span
from mlbuild.lang.dialect import Dialect

# Changes whenever the meaning of compiled code does: with `$` functions, dialects and Python.
VERSION = f"2 {sys.implementation.cache_tag} {sys.hexversion:x}"


@dataclass(frozen=True, slots=True)
class Load:
    """A load statement: names are (local name, exported name, place)."""

    module: str
    span: Span
    names: tuple[tuple[str, str, Span], ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled file. `code` is Python code and what its names mean, marshalled."""

    path: str
    code: bytes
    loads: tuple[Load, ...]
    dialect: Dialect


def program_bytes(program: Program) -> bytes:
    """Return `program` for a cache. What is read back is run: its user alone may write there."""
    loads = [
        (
            one.module,
            _numbers(one.span),
            [(local, name, _numbers(span)) for local, name, span in one.names],
        )
        for one in program.loads
    ]
    body = marshal.dumps((VERSION, program.path, program.dialect.value, loads, program.code))
    return zlib.crc32(body).to_bytes(4, "big") + body


def program_from(content: bytes) -> Program:
    """Read what `program_bytes` gave; raise ValueError if it is damaged or of another version."""
    body = content[4:]
    if len(content) <= 4 or zlib.crc32(body).to_bytes(4, "big") != content[:4]:  # noqa: PLR2004
        raise ValueError("a compiled file is damaged")
    version, path, dialect, loads, code = marshal.loads(body)  # noqa: S302 - our own, and checked
    if version != VERSION:
        raise ValueError("a compiled file is of another version")
    return Program(
        path,
        code,
        tuple(
            Load(
                module,
                Span(path, *span),
                tuple((local, name, Span(path, *at)) for local, name, at in names),
            )
            for module, span, names in loads
        ),
        Dialect(dialect),
    )


def _numbers(span: Span) -> tuple[int, int, int]:
    return (span.line, span.column, span.length)
