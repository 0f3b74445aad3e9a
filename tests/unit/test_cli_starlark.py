"""`mlbuild starlark`: what it says and returns."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mlbuild.cli.main import main

Capture = pytest.CaptureFixture[str]


def report(folder: Path, source: str, capsys: Capture) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the JSON that a file gives."""
    (folder / "file.star").write_text(source)
    code = main(["starlark", "--json", "-C", str(folder), "file.star"])
    return code, json.loads(capsys.readouterr().out)


def test_a_file_without_errors_says_nothing_but_what_it_prints(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file.star").write_text('print("a", [1], sep = "|")\nassert_eq(1, 1.0)\n')

    code = main(["starlark", "-C", str(tmp_path), "file.star"])

    assert (code, *capsys.readouterr()) == (0, "", "a|[1]\n")


def test_the_report_of_a_good_file(tmp_path: Path, capsys: Capture) -> None:
    code, found = report(tmp_path, "x = 1\n", capsys)

    assert code == 0
    assert found["ok"] is True
    assert found["error"] is None
    assert found["seconds"] >= 0


def test_the_report_of_an_error(tmp_path: Path, capsys: Capture) -> None:
    code, found = report(tmp_path, "def f():\n  assert_(0)\nf()\n", capsys)

    assert code == 2
    assert found["ok"] is False
    assert found["error"] == {
        "message": "assert_: 0 is not true",
        "path": "file.star",
        "line": 2,
        "column": 3,
        "hints": [],
        "notes": ["called at file.star:3:1"],
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("assert_(False)", "assert_: False is not true"),
        ("assert_([], 'no names')", "assert_: no names"),
        ("assert_eq(1, '1')", 'assert_eq: 1 is not "1"'),
        ("assert_eq(1, True)", "assert_eq: 1 is not True"),
        ("assert_eq(list(range(40)), 1)", "assert_eq: x and y differ"),
        ("assert_fails(lambda: [1], 'x')", "assert_fails: it does not fail, it gives [1]"),
        (
            "assert_fails(lambda: 1 // 0, 'by one')",
            "assert_fails: it fails with `division by zero`, in which `by one` is not found",
        ),
        (
            "assert_fails(lambda: 1, '(')",
            "`(` is not a regular expression: missing ), unterminated subpattern",
        ),
        (
            "assert_fails(lambda: 1, 1)",
            "assert_fails takes a regular expression as a string, not 1",
        ),
        ("assert_fails(1, 'x')", "an int cannot be called"),
    ],
)
def test_an_assertion_that_does_not_hold(
    source: str, message: str, tmp_path: Path, capsys: Capture
) -> None:
    code, found = report(tmp_path, f"{source}\n", capsys)

    assert code == 2
    assert found["error"]["message"] == message
    assert found["error"]["line"] == 1


def test_both_values_of_a_long_comparison_are_shown(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file.star").write_text('assert_eq(["x" * 30], ["y" * 30])\n')

    main(["starlark", "-C", str(tmp_path), "file.star"])

    said = capsys.readouterr().err
    assert f'note: x is ["{"x" * 30}"]' in said
    assert f'note: y is ["{"y" * 30}"]' in said


def test_assert_fails_looks_for_a_regular_expression(tmp_path: Path, capsys: Capture) -> None:
    source = 'assert_fails(lambda: [].pop(), "^the (list|dict) .*y$")\n'

    assert report(tmp_path, source, capsys)[0] == 0


def test_a_file_may_come_from_stdin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "lib.star").write_text("x = 1\n")
    source = b'load("lib.star", "x")\nassert_eq(x, 2)\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))

    code = main(["starlark", "-C", str(tmp_path), "-"])

    assert code == 2
    assert "--> <stdin>:2:1" in capsys.readouterr().err


def test_a_loaded_file_is_evaluated_once_and_frozen(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "lib.star").write_text('print("once")\nnames = ["a"]\n')
    (tmp_path / "sub" / "other.star").write_text('load(":lib.star", "names")\nmore = names\n')
    (tmp_path / "file.star").write_text(
        'load("sub/lib.star", "names")\nload("sub/other.star", "more")\n'
        'assert_fails(lambda: more.append("b"), "frozen")\nassert_eq(names, more)\n'
    )

    code = main(["starlark", "-C", str(tmp_path), "file.star"])

    assert (code, capsys.readouterr().err) == (0, "once\n")


@pytest.mark.parametrize("name", ["../up.star", "/etc/passwd", "a//b.star", "", ".", "sub"])
def test_only_files_of_the_folder_and_below_are_loaded(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "up.star").write_text("x = 1\n")

    code, found = report(folder, f'load("{name}", "x")\n', capsys)

    assert code == 2
    assert found["error"]["line"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no file is named"),
        (["gone.star"], "cannot read `gone.star`: no such file or directory"),
        (["."], "cannot read `.`: is a directory"),
        (["a.star", "b.star"], "`mlbuild starlark` does not take `b.star`"),
    ],
)
def test_what_is_no_file_is_an_error(
    words: list[str], said: str, tmp_path: Path, capsys: Capture
) -> None:
    code = main(["starlark", "-C", str(tmp_path), *words])

    assert code == 2
    assert f"error: {said}\n" in capsys.readouterr().err


def test_a_pipe_may_be_the_file(capsys: Capture) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"assert_(True)\n")
    os.close(writer)

    code = main(["starlark", f"/dev/fd/{reader}"])

    os.close(reader)
    assert (code, capsys.readouterr().err) == (0, "")
