"""One layout: it says what the file said before, keeps every comment, and has nothing to add."""

import io
import json
import os
import stat
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlbuild import lang
from mlbuild.cli.main import main
from mlbuild.errors import InputError
from mlbuild.lang.format import formatted
from mlbuild.lang.format_words import comment_words, read_words
from mlbuild.lang.parse import parse
from tests.harness import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "fmt"
PROGRAMS = sorted(
    [
        *(REPOSITORY / "tests" / "lang" / "programs").glob("*.star"),
        *(REPOSITORY / "rules").glob("*.bzl"),
        *GOLDEN.glob("*.out.star"),
        *(REPOSITORY / "examples" / "lenet").rglob("BUILD.ml"),
    ]
)
UGLY = 'x = [1,"a"]\n'
PRETTY = 'x = [\n    1,\n    "a",\n]\n'
IN_BRACKETS = ["\n", "\n\n", " # a\n", "\n  # b\n", "\n\n# c\n# d\n\n\n", " # e\n # f\n", " \\\n"]


def dialect_of(path: Path) -> lang.Dialect:
    return lang.Dialect.BUILD if path.suffix == ".ml" else lang.Dialect.BZL


def fmt(text: str, dialect: lang.Dialect = lang.Dialect.BUILD) -> str:
    return formatted(text.encode(), "BUILD.ml", dialect=dialect).decode()


def tree(node: Any) -> Any:
    """Return a syntax tree without its places."""
    if not isinstance(node, tuple | list):
        return (type(node), node)
    names = getattr(node, "_fields", [""] * len(node))
    pairs = zip(names, node, strict=True)
    return (type(node), [tree(one) for name, one in pairs if not name.endswith("at")])


def meaning(text: str) -> Any:
    return tree(parse(text.encode(), "file"))


def laid_out_anew(text: str, random: Random) -> str:
    """Return the words of a file with other spaces, line breaks and comments between them."""
    found: list[str] = []
    indents = [0]
    depth = 0
    before = "NEWLINE"
    rare = random.choice([3, 12, 40])
    for word in read_words(text):
        if word.type == "INDENT":
            indents.append(word.at[3] - 1)
        elif word.type == "DEDENT":
            indents.pop()
        elif word.type == "NEWLINE":
            ends = [
                "\n",
                " # g\n",
                "\n\n\n",
                "\n  # h\n",
                "\n\n# i\n\n",
                " \\\n # j\n",
                " ; \n",
                "; # k\n",
            ]
            found.append("\n" if before == "COLON" else random.choice(ends))
        elif word.type != "END":
            gaps = [" "] * rare + IN_BRACKETS if depth else [" "] * rare + [" \\\n  "]
            found += [" " * indents[-1] if before == "NEWLINE" else random.choice(gaps), word.text]
            depth += (word.text in {"(", "[", "{"}) - (word.text in {")", "]", "}"})
        if word.type not in {"INDENT", "DEDENT"}:
            before = word.type
    return "".join(found)


def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Make expressions of expressions; every line break stands in brackets."""
    gap = st.sampled_from(["", " ", "\n", " # a\n", "\n# b\n", "\n\n# c\n\n"])
    few = st.lists(inner, max_size=3)
    operator = st.sampled_from(["+", "-", "*", "and", "or", "not in", "==", "|"])

    def joined(opened: str, closed: str) -> st.SearchStrategy[str]:
        return st.tuples(few, gap, gap, st.sampled_from(["", ","])).map(
            lambda t: f"{opened}{t[1]}{f',{t[2]}'.join(t[0])}{t[2]}{t[3] if t[0] else ''}{closed}"
        )

    return st.one_of(
        *(joined(*pair) for pair in (("[", "]"), ("f(", ")"), ("x.y(", ")"))),
        st.tuples(inner, gap, operator, gap, inner).map(
            lambda t: f"({t[0]} {t[1]}{t[2]} {t[3]}{t[4]})"
        ),
        st.tuples(inner, gap, inner).map(lambda t: f"{{{t[0]}:{t[1]}{t[2]},}}"),
        st.tuples(inner, gap, inner).map(lambda t: f"f(*{t[0]},{t[1]}**{t[2]})"),
        st.tuples(inner, gap, inner, inner).map(
            lambda t: f"f(b={t[0]},{t[1]}name={t[2]},deps={t[3]})"
        ),
        st.tuples(inner, gap, inner, inner).map(lambda t: f"({t[0]} {t[1]}if {t[2]} else {t[3]})"),
        st.tuples(inner, gap, inner).map(lambda t: f"[{t[0]} {t[1]}for a, b in {t[2]} if b]"),
        st.tuples(inner, inner, gap).map(lambda t: f"f({t[0]})[{t[1]}:{t[2]}]"),
        st.tuples(inner, inner).map(lambda t: f"(lambda a, *b, c = {t[0]}: {t[1]})"),
        st.tuples(st.sampled_from(["-", "~", "not "]), inner).map(lambda t: f"({t[0]}{t[1]})"),
        st.tuples(gap, inner).map(lambda t: f"({t[0]}{t[1]},)"),
    )


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "1", "1.5", "'b'", '"c"', "'\"'", "r'\\d'", "'''e\n f'''", "[]", "()"]),
    wider,
    max_leaves=12,
)
calm = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


# What is laid out


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.in.*")), ids=lambda path: path.name)
def test_a_file_gets_the_layout_that_is_written_down(path: Path) -> None:
    wanted = path.with_name(path.name.replace(".in.", ".out.")).read_text()

    found = fmt(path.read_text(), dialect_of(path))

    assert found == wanted
    assert fmt(found, dialect_of(path)) == wanted


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_formatted_program_says_the_same(path: Path) -> None:
    text = path.read_text()

    found = fmt(text, dialect_of(path))

    assert meaning(found) == meaning(text)
    assert comment_words(found) == comment_words(text)
    assert fmt(found, dialect_of(path)) == found


@calm
@given(st.integers(0, 1 << 30), st.sampled_from(PROGRAMS))
def test_no_layout_of_a_program_changes_what_it_says_or_loses_a_comment(
    seed: int, path: Path
) -> None:
    text = laid_out_anew(path.read_text(), Random(seed))  # noqa: S311 - the same every time

    found = fmt(text, lang.Dialect.BZL)

    assert meaning(found) == meaning(text)
    assert comment_words(found) == comment_words(text)
    assert fmt(found, lang.Dialect.BZL) == found


@calm
@given(st.lists(EXPRESSIONS, min_size=1, max_size=3), st.sampled_from(["x = {}", "{}", "x += {}"]))
def test_a_generated_build_file_is_formatted_once_and_for_all(
    expressions: list[str], statement: str
) -> None:
    text = "".join(f"{statement.format(one)}\n" for one in expressions)

    found = fmt(text)

    assert comment_words(found) == comment_words(text)
    assert fmt(found) == found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("\n\n", ""),
        ("# only this", "# only this\n"),
        ("x = 1\r\n\r\n\r\n# two\r\ny = 2\r\n", "x = 1\n\n# two\ny = 2\n"),
        ("x = 1 .real", "x = 1 .real\n"),
        (
            "x = 'a' + 'say \"b\"' + r'\\d' + 'it\\'s'",
            'x = "a" + \'say "b"\' + r"\\d" + \'it\\\'s\'\n',
        ),
        ("f(1)\nf(2)\n\n\n\nf(3)", "f(1)\n\nf(2)\n\nf(3)\n"),
        ("x = 1\ny = 2\n\nz = 3", "x = 1\ny = 2\n\nz = 3\n"),
        ("x = [1, 2]\ny = [a, 2]", "x = [1, 2]\ny = [\n    a,\n    2,\n]\n"),
        ("f(\n)\ng(\n1)", "f()\n\ng(\n    1,\n)\n"),
        ("x = a[1 : 2], - b", "x = a[1:2], -b\n"),
    ],
)
def test_a_short_build_file_is_laid_out(before: str, after: str) -> None:
    assert fmt(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('f(b = 1, name = "a")', 'f(\n    name = "a",\n    b = 1,\n)\n'),
        ('f(b = 1, name = g("a"))', 'f(\n    b = 1,\n    name = g("a"),\n)\n'),
        ('f(tags = ["b", "a"])', 'f(tags = [\n    "a",\n    "b",\n])\n'),
        ('f(srcs = ["b", "a"])', 'f(srcs = [\n    "b",\n    "a",\n])\n'),
        (
            'f(deps = ["@b", "//b", ":b", x, "d", "c"])',
            'f(deps = [\n    ":b",\n    "//b",\n    "@b",\n    x,\n    "c",\n    "d",\n])\n',
        ),
        ('load(":b", "y", "x")\nload("//b", "z")', 'load("//b", "z")\nload(":b", "x", "y")\n'),
    ],
)
def test_only_what_has_no_order_is_sorted(before: str, after: str) -> None:
    assert fmt(before) == after


def test_a_library_is_not_reordered() -> None:
    text = 'f(b = 1, name = "a", deps = ["b", "a"])\n'

    assert fmt(text, lang.Dialect.BZL) == text


def test_an_error_of_the_file_is_told_with_its_place() -> None:
    with pytest.raises(InputError) as caught:
        fmt("x = 1\ny = [1 2]\n")

    assert (caught.value.message, str(caught.value.span)) == ("unexpected `2`", "BUILD.ml:2:8")


# The command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a workspace that the test stands in, with two ugly files."""
    folder = tmp_path / "work"
    (folder / "models").mkdir(parents=True)
    (folder / "mlbuild.toml").write_text("")
    (folder / "BUILD.ml").write_text(PRETTY)
    (folder / "models" / "BUILD.ml").write_text(UGLY)
    (folder / "models" / "defs.bzl").write_text("x = [1,2]\n")
    monkeypatch.chdir(folder)
    return folder


def test_all_files_below_the_current_folder_are_formatted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["fmt"])

    shown = capsys.readouterr()
    assert code == 0
    assert shown.out == "models/BUILD.ml\nmodels/defs.bzl\n"
    assert shown.err == "2 files formatted, 1 unchanged\n"
    assert (home / "models" / "BUILD.ml").read_text() == PRETTY
    assert (home / "models" / "defs.bzl").read_text() == "x = [1, 2]\n"
    assert main(["fmt", "--check"]) == 0


def test_a_check_lists_what_would_change_and_writes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["fmt", "--check"])

    shown = capsys.readouterr()
    assert code == 1
    assert shown.out == "models/BUILD.ml\nmodels/defs.bzl\n"
    assert shown.err == "2 files would change, 1 unchanged\n"
    assert (home / "models" / "BUILD.ml").read_text() == UGLY


@pytest.mark.parametrize(("words", "wanted"), [(["--diff"], 0), (["--diff", "--check"], 1)])
def test_a_diff_shows_what_would_change(
    words: list[str], wanted: int, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "models" / "BUILD.ml").write_text(UGLY.rstrip())

    code = main(["fmt", *words, "models/BUILD.ml"])

    assert code == wanted
    assert capsys.readouterr().out == (
        "--- models/BUILD.ml\n+++ models/BUILD.ml\n@@ -1 +1,4 @@\n"
        '-x = [1,"a"]\n\\ No newline at end of file\n+x = [\n+    1,\n+    "a",\n+]\n'
    )
    assert (home / "models" / "BUILD.ml").read_text() == UGLY.rstrip()


def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "BUILD.ml").write_text("x = [1 2]\n")

    code = main(["fmt", "--json"])

    shown = capsys.readouterr()
    assert code == 2
    assert json.loads(shown.out) == {
        "changed": ["models/BUILD.ml", "models/defs.bzl"],
        "unchanged": 0,
        "failed": [{"path": "BUILD.ml", "line": 1, "column": 8, "message": "unexpected `2`"}],
    }
    assert "BUILD.ml:1:8" in shown.err
    assert "x = [1 2]" in shown.err
    assert (home / "BUILD.ml").read_text() == "x = [1 2]\n"
    assert (home / "models" / "BUILD.ml").read_text() == PRETTY


def test_folders_that_are_not_the_users_are_left_alone(home: Path) -> None:
    other = ["mlbuild-out/a", ".mlbuild", ".venv/lib", "env/lib", "inner", "inner/deep"]
    for folder in other:
        (home / folder).mkdir(parents=True)
        (home / folder / "BUILD.ml").write_text(UGLY)
    (home / "env" / "pyvenv.cfg").write_text("")
    (home / "inner" / "mlbuild.toml").write_text("")

    main(["fmt"])

    assert [(home / folder / "BUILD.ml").read_text() for folder in other] == [UGLY] * len(other)


@pytest.mark.parametrize("words", [["inner"], ["."], ["-C", "inner"]])
def test_a_workspace_within_is_formatted_when_it_is_asked_for(words: list[str], home: Path) -> None:
    (home / "inner").mkdir()
    (home / "inner" / "mlbuild.toml").write_text("")
    (home / "inner" / "BUILD.ml").write_text(UGLY)

    main(["fmt", *words])

    assert (home / "inner" / "BUILD.ml").read_text() == PRETTY


def test_the_mode_of_a_file_and_the_link_to_it_are_kept(home: Path) -> None:
    target, link = home / "models" / "BUILD.ml", home / "link.ml"
    target.chmod(0o640)
    link.symlink_to("models/BUILD.ml")

    code = main(["fmt", "link.ml", "models/BUILD.ml"])

    assert code == 0
    assert link.is_symlink()
    assert target.read_text() == PRETTY
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(os.listdir(target.parent)) == ["BUILD.ml", "defs.bzl"]


def test_a_link_out_of_the_folder_is_not_followed_unless_it_is_named(
    home: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.ml"
    outside.write_text(UGLY)
    (home / "BUILD.ml").unlink()
    (home / "BUILD.ml").symlink_to(outside)

    main(["fmt"])
    found = outside.read_text()
    main(["fmt", "BUILD.ml"])

    assert found == UGLY
    assert outside.read_text() == PRETTY


@pytest.mark.parametrize(
    ("words", "wanted"), [([], PRETTY), (["--name", "models/defs.bzl"], 'x = [1, "a"]\n')]
)
def test_stdin_goes_to_stdout(
    words: list[str],
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))

    code = main(["fmt", *words, "-"])

    shown = capsys.readouterr()
    assert (code, shown.out, shown.err) == (0, wanted, "")


def test_files_outside_of_a_workspace_are_formatted_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "BUILD.ml").write_text(UGLY)
    monkeypatch.chdir(tmp_path)

    codes = [main(["fmt"]), main(["fmt", "BUILD.ml"])]

    assert codes == [2, 0]
    assert "to format files outside of a workspace, name them" in capsys.readouterr().err
    assert (tmp_path / "BUILD.ml").read_text() == PRETTY


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no file or folder `nowhere`"),
        (["--json", "--diff"], "`--json` and `--diff` cannot be given together"),
        (["-", "BUILD.ml"], "`-` cannot be given together with paths"),
        (["--name", "x.bzl"], "`--name` is for `-`"),
        (["-", "--json"], "`-` writes the file to stdout"),
    ],
)
def test_words_that_make_no_sense_are_refused(
    words: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["fmt", *words])

    assert code == 2
    assert said in capsys.readouterr().err
    assert (home / "models" / "BUILD.ml").read_text() == UGLY


def test_every_file_of_this_repository_is_formatted(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["fmt", "--check", "-C", str(REPOSITORY), "."])

    assert (capsys.readouterr().out, code) == ("", 0)
