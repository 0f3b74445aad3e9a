"""Random expressions give what another implementation of the language gives, or fail as there."""

import re
from typing import Any

import starlark
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mlbuild import lang
from mlbuild.errors import InputError, Span

EXAMPLES = 200  # raise it to search longer; the examples are the same from run to run

NUMBERS = st.one_of(
    st.integers(-9, 9),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3)),
).map(lambda x: f"({x})")
STRINGS = st.text("ab %-\\\"'\n{}", max_size=4).map(lang.repr_of)
CONSTANTS = st.sampled_from(["None", "True", "False", "()", "[]", "{}", '""', "0", "1", "range(3)"])
BINARY = ["+", "-", "*", "//", "%", "/", "&", "|", "^", "<<", ">>"]
BINARY += ["==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or"]
FUNCTIONS = ["abs", "all", "any", "bool", "enumerate", "int", "len", "list", "max", "min"]
FUNCTIONS += ["repr", "reversed", "sorted", "str", "tuple", "type", "zip", "dict"]
NO_ARGUMENTS = ["capitalize", "elems", "isalnum", "isalpha", "isdigit", "islower", "isspace"]
NO_ARGUMENTS += ["istitle", "isupper", "lower", "lstrip", "split", "splitlines", "strip", "title"]
NO_ARGUMENTS += ["upper", "items", "keys", "values", "pop", "popitem", "clear", "format"]
ONE_ARGUMENT = ["count", "endswith", "find", "format", "index", "join", "partition", "append"]
ONE_ARGUMENT += ["removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "rsplit"]
ONE_ARGUMENT += ["split", "startswith", "get", "pop", "setdefault", "extend", "remove", "update"]


def larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(smaller, smaller), max_size=3)
    return st.one_of(
        st.tuples(smaller, st.sampled_from(BINARY), smaller).map(lambda t: f"({' '.join(t)})"),
        st.tuples(st.sampled_from(["-", "+", "~", "not "]), smaller).map(
            lambda t: f"({t[0]}{t[1]})"
        ),
        st.lists(smaller, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(smaller, max_size=3).map(lambda items: f"({''.join(f'{i}, ' for i in items)})"),
        pairs.map(lambda items: "{" + ", ".join(f"{k}: {v}" for k, v in items) + "}"),
        st.tuples(smaller, smaller).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.tuples(smaller, smaller, smaller).map(lambda t: f"{t[0]}[{t[1]}:{t[2]}]"),
        st.tuples(smaller, st.sampled_from(["1", "-1", "2", "-2"])).map(
            lambda t: f"{t[0]}[::{t[1]}]"
        ),
        st.tuples(st.sampled_from(FUNCTIONS), smaller).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(smaller, st.sampled_from(NO_ARGUMENTS)).map(lambda t: f"{t[0]}.{t[1]}()"),
        st.tuples(smaller, st.sampled_from(ONE_ARGUMENT), smaller).map(
            lambda t: f"{t[0]}.{t[1]}({t[2]})"
        ),
        st.tuples(smaller, smaller, smaller).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(smaller, smaller).map(lambda t: f"[({t[0]}, x) for x in {t[1]} or ()]"),
        st.tuples(smaller, smaller).map(lambda t: f"{{x: {t[0]} for x in {t[1]} or () if x}}"),
        st.tuples(smaller, smaller).map(lambda t: f"(lambda x, *y: (y, x, {t[0]}))({t[1]}, 1)"),
    )


EXPRESSIONS = st.recursive(st.one_of(NUMBERS, STRINGS, CONSTANTS), larger, max_leaves=8)


def no_loads(text: str, span: Span) -> lang.Module:
    raise InputError(f"there is no file `{text}`", span=span)


def theirs(source: str) -> str | None:
    """Return the value's text by the other implementation; None where it fails."""
    module = starlark.Module()
    try:
        tree = starlark.parse("file.star", source, starlark.Dialect.extended())
        found: Any = starlark.eval(module, tree, starlark.Globals.standard())
    except starlark.StarlarkError:
        return None
    return str(found)


def ours(source: str) -> str | None:
    try:
        program = lang.compile_file(
            f"found = {source}".encode(), "file.star", dialect=lang.Dialect.PLAIN
        )
        module = lang.execute(program, predeclared={}, load=no_loads, print=lambda _: None)
    except InputError as error:
        return None if error.span else "an error without a place"
    return str(module.globals["found"])


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(EXPRESSIONS)
def test_an_expression_has_the_value_that_it_has_elsewhere(expression: str) -> None:
    source = f"repr({expression})"
    other = theirs(source)
    assume(other is not None or not LARGE.search(expression))
    assume(not any(part in expression for part in DIFFERENT))

    assert rounded(ours(source)) == rounded(other)


def rounded(text: str | None) -> str | None:
    """Return `text` with all floats in one form: the other implementation rounds them."""
    return text and FLOAT.sub(lambda found: f"{float(found[0]):.4e}", text)


# Where the other implementation is not to the letter of the specification: indices and repetitions
# beyond 32 bits fail, `elems()` shows as `iterator`, an empty separator splits, and anything may be
# looked for in a range.
LARGE = re.compile(r"\d{9}")
DIFFERENT = ("elems()", 'split("")', "in range(3)")
FLOAT = re.compile(r"\d+\.\d+(?:e[+-]\d+)?|\d+e[+-]\d+")
