"""The query language: words, quotes, operators and calls, as Bazel reads them."""

import os
import shlex

import pytest

from mlbuild.errors import InputError
from mlbuild.query import grammar
from mlbuild.query.functions import FUNCTIONS
from mlbuild.query.order import ORDERS
from mlbuild.query.parse import parse
from mlbuild.query.show import FORMS
from mlbuild.query.syntax import Call, Chain, Expression, Let, SetOf, Variable, Word
from mlbuild.query.words import query_text
from tests.harness import REPOSITORY


def shown(node: Expression) -> str:
    """Return an expression with all its parentheses."""
    match node:
        case Word(token):
            return f"<{token.text}>"
        case Variable(name, _):
            return f"${name}"
        case SetOf(words):
            return f"set[{' '.join(word.text for word in words)}]"
        case Let(name, value, body):
            return f"(let {name.text} = {shown(value)} in {shown(body)})"
        case Call(name, arguments):
            return f"{name.text}[{', '.join(map(shown, arguments))}]"
        case Chain(first, rest):
            text = shown(first)
            for operator, side in rest:
                text = f"({text} {operator} {shown(side)})"
            return text


def test_the_tables_are_those_of_the_grammar() -> None:
    with open(os.path.join(grammar.FOLDER, "tables.json"), encoding="utf-8") as file:
        kept = file.read()

    assert kept == grammar.tables(), "run `python -m mlbuild.query.grammar`"


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("//a:b", "<//a:b>"),
        ("a/...", "<a/...>"),
        ("//a:b-c_d.e~f@g[1]*", "<//a:b-c_d.e~f@g[1]*>"),
        ('"//a:b+c=d"', "<//a:b+c=d>"),
        ("'.*test rule'", "<.*test rule>"),
        ('"it\'s"', "<it's>"),
        ("'a\"b'", '<a"b>'),
        ("//a:b+//c", "(<//a:b> + <//c>)"),
        ("//a:b -//c", "(<//a:b> - <//c>)"),
        ("//a-//c", "<//a-//c>"),  # `-` and `/` are letters of a word
        ("a^b", "(<a> ^ <b>)"),
        ("a union b intersect c except d", "(((<a> + <b>) ^ <c>) - <d>)"),
        ("a + b ^ c - d", "(((<a> + <b>) ^ <c>) - <d>)"),
        ("a ^ (b + c)", "(<a> ^ (<b> + <c>))"),
        ('"union"', "<union>"),
        ("unions", "<unions>"),
        ("set()", "set[]"),
        ("set(a 'b c' //d)", "set[a b c //d]"),
        ("let x = a in $x + b", "(let x = <a> in ($x + <b>))"),
        ("a - let x = b in $x - c", "(<a> - (let x = <b> in ($x - <c>)))"),
        ("(let x = b in $x) - c", "((let x = <b> in $x) - <c>)"),
        ("let x = let y = a in $y in $x", "(let x = (let y = <a> in $y) in $x)"),
        ("deps(a)", "deps[<a>]"),
        ("deps ( a , 2 )", "deps[<a>, <2>]"),
        ("deps(a + b, 2)", "deps[(<a> + <b>), <2>]"),
        ("kind(train, deps(a))", "kind[<train>, deps[<a>]]"),
        ("  a\n\t+ b ", "(<a> + <b>)"),
        ("rbuildfiles(a, b, c)", "rbuildfiles[<a>, <b>, <c>]"),
        ("stale()", "stale[]"),
        ("stale(a)", "stale[<a>]"),
    ],
)
def test_a_query_means(text: str, means: str) -> None:
    assert shown(parse(text)) == means


@pytest.mark.parametrize(
    ("text", "line", "column", "length"),
    [
        ("", 1, 1, 1),
        ("a b", 1, 3, 1),
        ("deps(a", 1, 5, 1),
        ("deps(a))", 1, 8, 1),
        ("a\n  + depz(b)", 2, 5, 4),
        ("a +", 1, 3, 1),
        ("+ a", 1, 1, 1),
        ("kind(a & b, c)", 1, 8, 1),
        ("kind('a, c)", 1, 6, 1),
        ("deps(a, -1)", 1, 9, 1),
        ("deps(a, x)", 1, 9, 1),
        ("somepath(a)", 1, 1, 8),
        ("a ^ ^ b", 1, 5, 1),
        ("let 'x' = a in $x", 1, 5, 3),
        ("let a/b = a in $x", 1, 5, 3),
        ("let x a", 1, 7, 1),
        ("in", 1, 1, 2),
        ("set(a, b)", 1, 6, 1),
        ("set((a))", 1, 5, 1),
        ("deps()(a)", 1, 7, 1),
        ("a\\b", 1, 2, 1),
        ("ä", 1, 1, 1),
    ],
)
def test_what_is_wrong_is_pointed_at(text: str, line: int, column: int, length: int) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)

    span = caught.value.span
    assert span is not None
    assert (span.line, span.column, span.length) == (line, column, length)
    assert caught.value.source == text


def test_a_query_is_nested_a_hundred_deep_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        return "deps(" * depth + "a" + ")" * depth

    shallow = parse(nested(100))

    assert shown(shallow).count("deps") == 100
    with pytest.raises(InputError, match="nested more than 100 deep"):
        parse(nested(101))


def test_a_long_chain_and_many_parentheses_are_read() -> None:
    chain = parse(" + ".join(f"//a:t{n}" for n in range(20_000)))
    inner = parse("(" * 20_000 + "a" + ")" * 20_000)

    assert isinstance(chain, Chain)
    assert len(chain.rest) == 19_999
    assert shown(inner) == "<a>"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["//..."], "//..."),
        (["//...", "-//:bad"], "//... - //:bad"),
        (["//a", "//b", "-:c", "//d"], "//a + //b - :c + //d"),
        (["-//a", "//b"], "set() - //a + //b"),
        (["//a:x+y"], '"//a:x+y"'),
        (["//a:x=y,z"], '"//a:x=y,z"'),
        (["//a+//b"], "//a+//b"),
        (["deps(//a)", "+", "//b"], "deps(//a) + //b"),
        (["//a", "union", "//b"], "//a union //b"),
        (["//a", "-", "//b"], "//a - //b"),
        (["let", "x", "=", "//a", "in", "deps($x)"], "let x = //a in deps($x)"),
        (["deps", "//models:lenet"], "deps(//models:lenet)"),
        (["deps", "//models:lenet", "2"], "deps(//models:lenet, 2)"),
        (["deps", "//a:x+y"], 'deps("//a:x+y")'),
        (["deps", "//a", "+", "//b", "2"], "deps(//a + //b, 2)"),
        (["deps", "//...", "-//x"], "deps(//... - //x)"),
        (["deps", "kind(train, //...)"], "deps(kind(train, //...))"),
        (["kind", "train rule", "//..."], 'kind("train rule", //...)'),
        (["filter", r"\.py$", "deps(//a)"], r'filter("\.py$", deps(//a))'),
        (["filter", 'say "a"', "//..."], "filter('say \"a\"', //...)"),
        (["filter", "union", "//..."], 'filter("union", //...)'),
        (["params", "lr", "0.1", "//..."], "params(lr, 0.1, //...)"),
        (["rbuildfiles", "a.bzl", "b c.bzl"], 'rbuildfiles(a.bzl, "b c.bzl")'),
        (["set", "//a", "//b:c d"], 'set(//a "//b:c d")'),
        (["stale"], "stale()"),
        (["tests"], "tests"),  # a pattern: it takes an argument
        (["owner", "models/my file.py"], 'owner("models/my file.py")'),
    ],
)
def test_words_of_a_command_line_are_a_query(words: list[str], text: str) -> None:
    found = query_text(words)

    assert found == text
    parse(found)


def test_a_word_with_both_quotes_cannot_be_part_of_a_query() -> None:
    with pytest.raises(InputError, match="both kinds of quotes"):
        query_text(["filter", "'\"", "//..."])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_in_both_forms(name: str) -> None:
    signature = FUNCTIONS[name]

    assert signature.example.startswith(f"{name}(")
    assert shown(parse(signature.example)).startswith(f"{name}[")


def test_the_page_of_the_language_has_every_function_output_and_order() -> None:
    page = (REPOSITORY / "docs/query.md").read_text()
    rows = page.splitlines()

    for name, signature in FUNCTIONS.items():
        (row,) = [one for one in rows if one.startswith(f"| `{signature.shown(name)}` |")]
        assert row.endswith(f"| `{signature.example}` |")
    for word in (*FORMS, *ORDERS):
        assert f"`{word}`" in page


def test_the_examples_of_the_page_are_queries() -> None:
    page = (REPOSITORY / "docs/query.md").read_text()
    examples = [line[16:] for line in page.splitlines() if line.startswith("$ mlbuild query ")]

    assert len(examples) > 10
    for example in examples:
        words = shlex.split(example, comments=True)
        parse(query_text(words[: words.index("-o")] if "-o" in words else words))
