"""What is said of a bad file, and where: the exact sentence, line and column."""

from collections.abc import Callable

import pytest

from mlbuild import lang
from mlbuild.errors import InputError

BUILD, BZL, PLAIN = lang.Dialect.BUILD, lang.Dialect.BZL, lang.Dialect.PLAIN

GOLDEN = [
    # words and indentation
    ("x = 'abc\n", PLAIN, "1:5: the string is never closed"),
    ('x = """abc\n', PLAIN, "1:5: the string is never closed"),
    ("x = f('a',\n  [1, 2)\n", PLAIN, "2:8: `)` does not close `[`"),
    ("x = f(1\ny = 2\n", PLAIN, "1:6: `(` is never closed"),
    ("x = 1)\n", PLAIN, "1:6: `)` closes nothing"),
    ("def f():\n\treturn 1\n", PLAIN, "2:1: a tab in the indentation"),
    ("def f():\n  \treturn 1\n", PLAIN, "2:3: a tab in the indentation"),
    ("def f():\n    a = 1\n  b = 2\n", PLAIN, "3:1: the indentation matches no outer line"),
    ("  x = 1\n", PLAIN, "1:1: unexpected indentation"),
    ("x = 1\n  y = 2\n", PLAIN, "2:1: unexpected indentation"),
    ("def f():\nreturn 1\n", PLAIN, "2:1: expected an indented block"),
    ("x = \0\n", PLAIN, "1:5: a NUL character"),
    ("\ufeffx = 1\n", PLAIN, "1:1: a byte order mark"),
    ("x = 1 ? 2\n", PLAIN, "1:7: unexpected character `?`"),
    ("x = \\ 1\n", PLAIN, "1:5: a backslash that does not end its line"),
    ("x = !y\n", PLAIN, "1:5: unexpected `!`"),
    ("x = 012\n", PLAIN, "1:5: `012` is not a number"),
    ("x = 1_000\n", PLAIN, "1:5: `1_000` is not a number"),
    ("x = 0b12\n", PLAIN, "1:5: `0b12` is not a number"),
    ("x = 1e999\n", PLAIN, "1:5: the number is too large for a float"),
    ("x = 'a\\d'\n", PLAIN, "1:7: `\\d` is not an escape sequence"),
    ("x = '''\n  \\xff'''\n", PLAIN, "2:3: `\\xff` is more than 127"),
    ("x = '\\u12'\n", PLAIN, "1:6: `\\u` needs 4 hexadecimal digits"),
    ("x = '\\ud800'\n", PLAIN, "1:6: U+D800 is not a character"),
    ("while True:\n  pass\n", PLAIN, "1:1: `while` is a reserved word"),
    ("import os\n", PLAIN, "1:1: `import` is a reserved word"),
    # grammar
    ("f(a b)\n", PLAIN, "1:5: unexpected `b`"),
    ("x = [1 2]\n", PLAIN, "1:8: unexpected `2`"),
    ("x = 'a' 'b'\n", PLAIN, "1:9: two strings in a row"),
    ("x = f'a'\n", PLAIN, "1:6: there are no f-strings"),
    ("x = 1 < 2 < 3\n", PLAIN, "1:11: comparisons cannot be chained"),
    ("x = 1 == not 2\n", PLAIN, "1:10: `not` cannot stand here"),
    ("x = -not 2\n", PLAIN, "1:6: `not` cannot stand here"),
    ("a = b = 1\n", PLAIN, "1:7: unexpected `=`"),
    ("if x = 1:\n  pass\n", PLAIN, "1:6: unexpected `=`"),
    ("x = 1 if 2\n", PLAIN, "1:11: a conditional expression needs `else`"),
    ("x =\n", PLAIN, "1:4: unexpected end of line"),
    ("if x\n  pass\n", PLAIN, "1:5: expected `:` at the end of the line"),
    ("x = [y for y in 1, 2]\n", PLAIN, "1:18: unexpected `,`"),
    ("for a, in b:\n  pass\n", PLAIN, "1:8: unexpected `in`"),
    ("f() = 1\n", PLAIN, "1:1: this cannot be assigned to"),
    ("(a, 1) = 2, 3\n", PLAIN, "1:5: this cannot be assigned to"),
    ("a, b += 1\n", PLAIN, "1:1: `+=` takes one variable on its left"),
    ("None = 1\n", PLAIN, "1:1: `None` cannot be assigned to"),
    ("load('a.bzl')\n", BZL, "1:13: expected `,` but found `)`"),
    # names and dialects
    ("x = nam\nname = 1\n", BUILD, "1:5: name `nam` is not defined"),
    ("x = open('a')\n", BUILD, "1:5: name `open` is not defined"),
    ("x = y\ny = 1\n", BUILD, "1:5: `y` is used before it is assigned"),
    ("x = 1\nx = 2\n", BZL, "2:1: `x` is already assigned at line 1"),
    ("x = 1\nx += 2\n", BZL, "2:1: `x` is already assigned at line 1"),
    ("def f(): pass\nf = 1\n", BZL, "2:1: `f` is already assigned at line 1"),
    ("def f():\n  pass\n", BUILD, "1:1: functions are not defined in a BUILD file"),
    ("x = lambda: 1\n", BUILD, "1:5: functions are not defined in a BUILD file"),
    ("for x in [1]:\n  pass\n", BZL, "1:1: `for` stands in a function only"),
    ("if True:\n  x = 1\n", BUILD, "1:1: `if` stands in a function only"),
    ("return 1\n", PLAIN, "1:1: `return` outside of a function"),
    ("def f():\n  break\n", BZL, "2:3: `break` outside of a loop"),
    ("for x in [1]:\n  def f():\n    continue\n", PLAIN, "3:5: `continue` outside of a loop"),
    ("x = 1\nload('a.bzl', 'y')\n", BZL, "2:1: load stands at the top of the file"),
    ("def f():\n  load('a.bzl', 'y')\n", BZL, "2:3: load stands at the top of the file"),
    ("load('a.bzl', '_y')\n", BZL, "1:15: `_y` cannot be loaded: it begins with `_`"),
    ("load('a.bzl', 'y')\ny = 1\n", BZL, "2:1: `y` is loaded at line 1"),
    ("load('a.bzl', 'y', y = 'z')\n", BZL, "1:24: `y` is loaded twice"),
    ("def f(a, a):\n  pass\n", BZL, "1:10: parameter `a` is given twice"),
    (
        "def f(a = 1, b):\n  pass\n",
        BZL,
        "1:14: parameter `b` needs a default, as the one before it has",
    ),
    ("def f(**k, a):\n  pass\n", BZL, "1:12: no parameter follows `**kwargs`"),
    ("def f(*, **k):\n  pass\n", BZL, "1:7: a named parameter must follow `*`"),
    ("def f(*a, *b):\n  pass\n", BZL, "1:12: there is one `*` parameter at most"),
    ("print(sep = '', sep = '')\n", BUILD, "1:17: argument `sep` is given twice"),
    ("print(sep = '', 1)\n", BUILD, "1:17: a positional argument after a named argument"),
    ("print(*[], sep = '')\n", BUILD, "1:12: a named argument after `*args`"),
    ("print(**{}, *[])\n", BUILD, "1:13: `*args` after `**kwargs`"),
    # evaluation
    ("x = [1,\n  2 + 'a', 3]\n", BUILD, "2:3: `+` cannot take an int and a string"),
    ("x = len(\n  1,\n)\n", BUILD, "1:5: an int has no length"),
    ("x = ('a'\n  + 1)\n", BUILD, "2:3: `+` cannot take a string and an int"),
    ("x = {'a': 1}['b']\n", BUILD, '1:5: there is no key "b" in the dict'),
    ("x = [y.z for y in [1]]\n", BUILD, "1:6: an int has no fields or methods, so no `z`"),
    ("x = (1).upper\n", BUILD, "1:5: an int has no fields or methods, so no `upper`"),
    ("x = 'π' + 'πππ'.foo\n", BUILD, "1:11: a string has no method `foo`"),
    ("x = 1\ny = x(2)\n", BUILD, "2:5: an int cannot be called"),
    ("a, b = [1]\n", BUILD, "1:1: 2 names for 1 value"),
    ("print(end = '')\n", BUILD, "1:1: `print` has no parameter `end`"),
    ("x = 5\nx[0] = 1\n", BUILD, "2:1: the items of an int cannot be assigned to"),
    ("x = []\nx[0] = 1\n", BUILD, "2:1: index 0 is outside of the list of length 0"),
    ("fail('no', 'way')\n", BUILD, "1:1: no way"),
    ("x = [i for i in\n  5]\n", BUILD, "2:3: an int cannot be iterated over"),
]


@pytest.mark.parametrize(("source", "dialect", "wanted"), GOLDEN)
def test_a_bad_file_is_told_by_place_and_sentence(
    source: str, dialect: lang.Dialect, wanted: str, run: Callable[..., lang.Module]
) -> None:
    with pytest.raises(InputError) as caught:
        run(source, dialect=dialect, path="BUILD.ml")

    span = caught.value.span
    assert span is not None
    assert span.path == "BUILD.ml"
    assert f"{span.line}:{span.column}: {caught.value.message}" == wanted


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("x = lenn([])\n", "did you mean `len`?"),
        ("x = 'a'.strp()\n", "did you mean `strip`?"),
        ("x = struct(name = 1).nme\n", "did you mean `name`?"),
        ("x = {'epochs': 1}['epoch']\n", "did you mean `epochs`?"),
        ("x = sorted([], revers = True)\n", "did you mean `reverse`?"),
        ("x = '{a}'.format(ab = 1)\n", "did you mean `ab`?"),
        ("x = 1 is 2\n", "compare with `==`"),
        ("x = 017\n", "octal numbers are written 0o17"),
        ("x = [1] + (2,)\n", "make a list of it with list(…)"),
        ("x = ['a' for _ in 'abc']\n", "its characters are `.elems()`"),
    ],
)
def test_an_error_tells_a_way_out(source: str, hint: str, run: Callable[..., lang.Module]) -> None:
    with pytest.raises(InputError) as caught:
        run(source)

    assert hint in caught.value.hints


def test_the_span_covers_the_expression(run: Callable[..., lang.Module]) -> None:
    with pytest.raises(InputError) as caught:
        run("x = 1 + len('π' * 2) + ('a' - 1)\n")

    span = caught.value.span
    assert span is not None
    assert (span.column, span.length) == (24, 9)


def test_the_notes_lead_from_the_error_to_the_file(run: Callable[..., lang.Module]) -> None:
    with pytest.raises(InputError) as caught:
        run("def f(x):\n  return g(x)\ndef g(x):\n  return [y + 1 for y in x]\nz = f(['a'])\n")

    assert str(caught.value.span) == "file.star:4:11"
    assert caught.value.notes == (
        "called at file.star:2:10 in `f`",
        "called at file.star:5:5",
    )


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [(b"x = 1\ny = '\xff'\n", 2, 6), (b"\xc3\xa9\xc3 = 1\n", 1, 2)],
)
def test_a_file_that_is_not_utf_8_is_refused(source: bytes, line: int, column: int) -> None:
    with pytest.raises(InputError, match="not UTF-8") as caught:
        lang.compile_file(source, "a.bzl", dialect=BZL)

    span = caught.value.span
    assert span is not None
    assert (span.line, span.column) == (line, column)


def test_line_ends_of_windows_are_line_ends(run: Callable[..., lang.Module]) -> None:
    module = run('x = """a\r\nb"""\r\nif x:\r\n  y = 1\r\n\r\n')

    assert module.globals["x"] == "a\nb"
    assert module.globals["y"] == 1


@pytest.mark.parametrize("last", ["", "\n", "# end", "\n\n  # end", "\n\t# end\n  \n"])
def test_the_last_line_needs_no_end(last: str, run: Callable[..., lang.Module]) -> None:
    module = run(f"def f():\n  return 1\nx = f(){last}")

    assert module.globals["x"] == 1


def test_an_empty_file_is_a_file(run: Callable[..., lang.Module]) -> None:
    assert dict(run("").globals) == {}
    assert dict(run("\n  \n# nothing").globals) == {}
