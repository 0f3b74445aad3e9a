"""Which names a file loads and never uses."""

import marshal
from collections.abc import Iterator
from types import CodeType

from mlbuild.errors import Span
from mlbuild.lang.program import Program


def unused_loads(program: Program) -> list[tuple[str, Span]]:
    """Return the local names that `program` loads and never uses, and their places."""
    if not program.loads:
        return []
    code = marshal.loads(program.code)[0]  # noqa: S302 - compiled by us
    used = {name for one in _codes(code) for name in one.co_names}
    return [
        (local, span)
        for load in program.loads
        for local, _, span in load.names
        if local not in used
    ]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield `code` and the code of all functions in it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)
