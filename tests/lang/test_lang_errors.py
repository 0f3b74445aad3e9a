"""What an error of a file holds: place, hints, notes. Its text is in `tests/golden/errors`."""

from collections.abc import Callable

import pytest

from mlbuild import lang
from mlbuild.errors import InputError

BZL = lang.Dialect.BZL


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
