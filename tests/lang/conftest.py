"""Running programs of the BUILD language in tests."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mlbuild import lang
from mlbuild.errors import InputError, Span

Run = Callable[..., lang.Module]


def no_loads(text: str, span: Span) -> lang.Module:
    raise InputError(f"there is no file `{text}`", span=span)


@pytest.fixture
def printed() -> list[str]:
    """What print() has said."""
    return []


@pytest.fixture
def run(printed: list[str]) -> Run:
    """Compile a program, send it through its cached form, and execute it."""

    def run_program(
        source: str,
        *,
        dialect: lang.Dialect = lang.Dialect.PLAIN,
        path: str = "file.star",
        names: Mapping[str, Any] | None = None,
        load: Callable[[str, Span], lang.Module] = no_loads,
        steps: int = lang.STEPS,
    ) -> lang.Module:
        program = lang.compile_file(source.encode(), path, dialect=dialect)
        program = lang.program_from(lang.program_bytes(program))
        return lang.execute(
            program, predeclared=names or {}, load=load, print=printed.append, steps=steps
        )

    return run_program
