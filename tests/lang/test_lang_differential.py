"""Random expressions and programs do what they do in another implementation of the language.

`make test-differential` compares 20,000 of each; `DIFFERENTIAL_EXAMPLES` and `DIFFERENTIAL_SEED`
say how many, and which.
"""

import os
import re
from collections.abc import Callable
from typing import Any

import starlark
from hypothesis import HealthCheck, given, seed, settings

from mlbuild import lang
from mlbuild.errors import InputError, Span
from tests.lang.random_programs import EXPRESSIONS, PROGRAMS

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "200"))
SEED = os.environ.get("DIFFERENTIAL_SEED", "")

# Where the other implementation is not to the letter of the specification: what it does, and how
# that is seen. These are looked at only where one of the two fails and the other does not.
IT_ACCEPTS = {  # found in the random part of the source
    "an empty separator, which splits a string": r"split\(",
    "unions of types, such as None | None": r"\|",
    "anything that is looked for in a range": r"(?<!for [a-z] )in range\(",
}
IT_REFUSES = {  # found in what it says
    "indices and repetitions beyond 32 bits": r"too big to fit in i32",
    "to order sequences by what follows equal items that have no order": r"`compare` not supported",
    "None as a bound of a part of a string": r"Expected `int`, but got `NoneType",
}


def compared(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with EXAMPLES examples: always the same ones, or those of SEED."""
    chosen = settings(
        max_examples=EXAMPLES,
        derandomize=not SEED,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )(test)
    return seed(int(SEED))(chosen) if SEED else chosen


def no_loads(text: str, span: Span) -> lang.Module:
    raise InputError(f"there is no file `{text}`", span=span)


def theirs(source: str) -> tuple[str | None, str]:
    """Return the text of `found` by the other implementation, None and why where it fails."""
    module = starlark.Module()
    try:
        tree = starlark.parse("file.star", source + "found\n", starlark.Dialect.extended())
        found: Any = starlark.eval(module, tree, starlark.Globals.standard())
    except starlark.StarlarkError as error:
        return None, str(error)
    return str(found), ""


def ours(source: str) -> tuple[str | None, str]:
    """Return the text of `found`, None and why where the program fails."""
    try:
        program = lang.compile_file(source.encode(), "file.star", dialect=lang.Dialect.PLAIN)
        module = lang.execute(program, predeclared={}, load=no_loads, print=lambda _: None)
    except InputError as error:
        return (None if error.span else "an error without a place"), error.message
    return str(module.globals["found"]), ""


def compare(source: str, written: str) -> None:
    """Fail where `found` of the program differs; `written` is the part of it that is random."""
    mine, complaint = ours(source)
    other, objection = theirs(source)
    if rounded(mine) == rounded(other):
        return
    known = mine is None and any(re.search(one, written) for one in IT_ACCEPTS.values())
    known |= other is None and any(re.search(one, objection) for one in IT_REFUSES.values())
    known |= bool(mine and other and FLOAT.search(mine)) and prints_wrongly(source, str(mine))
    shown = [str(one)[:500] for one in (mine, complaint, other, objection)]
    assert known, "{}ours: {} {}\ntheirs: {} {}".format(source, *shown)


def prints_wrongly(source: str, mine: str) -> bool:
    """Say whether the other implementation has our value and only writes it down otherwise.

    It loses digits of floats such as 4.9999995e+12, which it prints as 4e+12.
    """
    head, _, printed = source.rpartition("found = repr(")
    value = printed.removesuffix(")\n")
    return theirs(f"{head}found = ({value}) == ({mine})\n")[0] == "True"


def rounded(text: str | None) -> str | None:
    """Return `text` with all floats in one form: the other implementation rounds them."""
    return text and FLOAT.sub(lambda found: f"{float(found[0]):.4e}", text)


FLOAT = re.compile(r"\d+\.\d+(?:e[+-]\d+)?|\d+e[+-]\d+")


@compared
@given(EXPRESSIONS)
def test_an_expression_has_the_value_that_it_has_elsewhere(expression: str) -> None:
    compare(f"found = repr({expression})\n", expression)


@compared
@given(PROGRAMS)
def test_a_program_ends_as_it_does_elsewhere(program: str) -> None:
    compare(f"{program}found = repr(main())\n", program)
