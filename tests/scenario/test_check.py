"""`mlbuild check`: everything that is wrong, at once, for people, programs and code hosts."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlbuild.check.problem import KINDS
from mlbuild.cli.main import main
from tests.golden.cases import case_names, read_case, write_case
from tests.harness import Build, Finished

REPOSITORY = Path(__file__).parent.parent.parent
MANY = "../check/many-problems.txt"


def problems(done: Finished) -> list[dict[str, Any]]:
    """Return what `--json` says."""
    found: list[dict[str, Any]] = json.loads(done.stdout)["problems"]
    return found


def told(build: Build, *words: str, code: int | None = None) -> list[tuple[str, str]]:
    """Return rule and `path:line:column` of each problem."""
    done = build.run("check", "--json", *words)
    found = problems(done)
    wrong = any(one["severity"] == "error" for one in found)
    assert done.code == (code if code is not None else 2 if wrong else 0), done.stderr
    return [(one["rule"], "{path}:{line}:{column}".format(**one)) for one in found]


def test_all_problems_of_a_workspace_are_told_at_once(build: Build) -> None:
    case = read_case(MANY)
    case.make(str(build.root))

    done = build.run(*case.words)

    if os.environ.get("UPDATE_GOLDEN"):
        write_case(MANY, case.text(done.stdout, done.code))
        return
    assert done.stdout == case.said
    assert done.code == case.code
    assert done.stderr.startswith("27 problems in 8 files · 4 packages, 13 targets · ")


def test_a_clean_workspace_has_no_problems(build: Build) -> None:
    build.genrule("a", "cat").genrule("b", "cat", "//:a", package="below")

    done = build.run("check")

    assert (done.code, done.stdout) == (0, "")
    assert done.stderr.startswith("no problems · 2 packages, 2 targets · ")


REFUSED = [
    name
    for name in case_names()
    if name.startswith("graph/") and read_case(name).words[:2] == ("--dry-run", "//...")
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_build_refuses_is_among_the_problems(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = read_case(name)
    case.make(str(tmp_path))
    for variable in [one for one in os.environ if one.startswith("MLBUILD_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MLBUILD_CACHE_DIR", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)

    code = main(["check", *case.words[2:]])

    shown = capsys.readouterr()
    refused = case.said.partition("\n")[0].removeprefix("error: ")
    assert code == case.code
    assert not case.code or f": {refused}\n" in shown.out + shown.err


@pytest.mark.parametrize(
    "example", sorted(path.name for path in (REPOSITORY / "examples").iterdir() if path.is_dir())
)
def test_the_examples_are_clean(build: Build, example: str) -> None:
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild")
    shutil.copytree(REPOSITORY / "examples" / example, build.root / example, ignore=ignored)
    if example == "lenet_container":
        (build.root / example / "image.tar").touch()  # `make` brings it

    done = build.run("-C", example, "check", "--strict")

    assert (done.code, done.stdout) == (0, "")


def test_warnings_count_when_they_are_to(build: Build) -> None:
    build.file("defs.bzl", "x = 1\n").file("BUILD.ml", 'load("//:defs.bzl", "x")\n')

    lenient, strict = build.run("check"), build.run("check", "--strict")

    assert (lenient.code, strict.code) == (0, 2)
    assert lenient.stdout == strict.stdout
    assert lenient.stdout.startswith("warning[unused-load]: `x` is loaded but never used\n")


def test_patterns_say_what_is_looked_at_seen_from_the_current_folder(build: Build) -> None:
    for package in ("a", "b/c"):
        build.file(f"{package}/BUILD.ml", 'filegroup(name = "t", srcs = ["none"])\n')

    below_b = build.run("check", "--json", "...", cwd=build.root / "b")

    assert [one["path"] for one in problems(below_b)] == ["b/c/BUILD.ml"]
    assert [one[1] for one in told(build, "//a:t")] == ["a/BUILD.ml:1:32"]
    assert [one[1] for one in told(build, "//...", "-//a/...")] == ["b/c/BUILD.ml:1:32"]
    assert build.run("check", "//none/...").code == 2
    assert build.run("check", "//a:lost").code == 2


def test_what_patterns_need_is_looked_at_too(build: Build) -> None:
    build.file("a/BUILD.ml", 'filegroup(name = "t", srcs = ["//b:t"])\n')
    build.file(
        "b/BUILD.ml", 'filegroup(name = "t", srcs = ["none"])\nfilegroup(name = "u", scrs = [])\n'
    )

    found = told(build, "//a:t")

    assert found == [
        ("unknown-target", "b/BUILD.ml:1:32"),
        ("unknown-attribute", "b/BUILD.ml:2:23"),
    ]


def test_a_target_that_cannot_be_declared_can_be_asked_for(build: Build) -> None:
    build.file("BUILD.ml", 'filegroup(name = "t", scrs = [])\n')

    assert told(build, "//:t") == [("unknown-attribute", "BUILD.ml:1:23")]


def test_a_broken_file_is_told_once_with_all_that_load_it(build: Build) -> None:
    build.file("defs.bzl", "def f():\n    retrun 1\n")
    for number in range(12):
        build.file(f"p{number:02}/BUILD.ml", 'load("//:defs.bzl", "f")\nf()\n')

    (problem,) = problems(build.run("check", "--json"))

    assert (problem["rule"], problem["path"], problem["line"]) == ("syntax", "defs.bzl", 2)
    assert problem["notes"][0] == "loaded at p00/BUILD.ml:1:6"
    assert problem["notes"][-1] == "and 4 more places"


def test_statements_that_need_what_failed_are_left_out(build: Build) -> None:
    build.file(
        "BUILD.ml",
        "files = glob(['*.csv'])\n"
        "more = files + ['x.txt']\n"
        'filegroup(name = "a", srcs = more)\n'
        'filegroup(name = "b", srcs = [":a", "none.txt"])\n',
    )

    assert told(build) == [("evaluation", "BUILD.ml:1:9"), ("missing-file", "BUILD.ml:4:38")]


def test_a_macro_that_fails_may_have_declared_anything(build: Build) -> None:
    build.file("BUILD.ml").file("defs.bzl", "def m(name):\n    fail('no')\n")
    build.file(
        "a/BUILD.ml",
        'load("//:defs.bzl", "m")\nm(name = "x")\nfilegroup(name = "t", srcs = [":x_1"])\n',
    )

    assert told(build) == [("evaluation", "defs.bzl:2:5")]


def test_branches_that_the_flags_do_not_choose_are_looked_at(build: Build) -> None:
    build.file(
        "BUILD.ml",
        'config_setting(name = "gpu", values = {"device": "gpu"})\n'
        'filegroup(name = "t", srcs = select({":gpu": ["gpu.txt"], '
        '"//conditions:default": []}))\n',
    )

    assert told(build) == [("missing-file", "BUILD.ml:2:48")]


def test_flags_choose_branches(build: Build) -> None:
    build.file(
        "BUILD.ml",
        'config_setting(name = "gpu", values = {"device": "gpu"})\n'
        'filegroup(name = "t", srcs = select({":gpu": []}))\n',
    )

    assert told(build) == [("bad-select", "BUILD.ml:2:23")]
    assert told(build, "--define", "device=gpu") == []


# Imports


def script(build: Build, source: str, *srcs: str) -> Build:
    """Declare `//m:it`, which runs `source` with `srcs`."""
    build.file("m/it.py", source)
    inputs = json.dumps(list(srcs))
    return build.file(
        "m/BUILD.ml", f'process(name = "it", script = "it.py", srcs = {inputs}, outs = ["o"])\n'
    )


@pytest.mark.parametrize(
    ("source", "srcs", "files"),
    [
        ("import helpers\n", [], ["m/helpers.py"]),
        ("import m.helpers as h\n", [], ["m/helpers.py"]),
        ("from m import helpers\n", [], ["m/helpers.py"]),
        ("from helpers import x\n", [], ["m/helpers.py"]),
        ("def f():\n    if 1:\n        import helpers\n", [], ["m/helpers.py"]),
        ("import helpers\n", ["helpers.py"], []),
        ("import pack.inner\n", [], ["m/pack/__init__.py"]),
        ("import pack.inner\n", ["pack/__init__.py"], ["m/pack/inner.py"]),
        ("import pack.inner\n", ["pack"], []),
        ("from pack import known\n", ["pack/__init__.py"], []),
        ("from pack import inner\n", ["pack/__init__.py"], ["m/pack/inner.py"]),
        ("from pack import *\n", ["pack/__init__.py"], []),
        ("import bare.inner\n", ["bare/inner.py"], []),  # an empty __init__.py changes nothing
        ("import random, numpy, top\n", [], ["top.py"]),
        ("try:\n    import helpers\nexcept ImportError:\n    helpers = None\n", [], []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helpers\n", [], []),
        ("import chain\n", ["chain.py"], ["m/helpers.py"]),
        ("import m.pack.again\n", ["pack/__init__.py", "pack/again.py"], ["m/helpers.py"]),
    ],
)
def test_an_undeclared_import_is_found(
    build: Build, source: str, srcs: list[str], files: list[str]
) -> None:
    script(build, source, *srcs)
    build.file("top.py").file("m/helpers.py", "x = 1\n").file("m/random.py", "x = 1\n")
    build.file("m/chain.py", "import helpers\n").file("m/bare/__init__.py").file("m/bare/inner.py")
    build.file("m/pack/__init__.py", "known = 1\n").file("m/pack/inner.py")
    build.file("m/pack/again.py", "from ..helpers import x\n")

    found = problems(build.run("check", "--json"))

    assert [one["message"].split("`")[1] for one in found] == files
    assert {one["rule"] for one in found} <= {"undeclared-import"}


def test_an_undeclared_import_says_where_and_what_to_add(build: Build) -> None:
    script(build, "# größer\nimport os; import lib.nets as nets\n")
    build.file("lib/nets.py").file("lib/BUILD.ml")

    (problem,) = problems(build.run("check", "--json"))

    place = {name: problem[name] for name in ("path", "line", "column", "length")}
    assert place == {"path": "m/it.py", "line": 2, "column": 19, "length": 8}
    assert problem["message"] == "`lib/nets.py` is imported, but not among the inputs of `//m:it`"
    assert problem["hints"] == ['add "//lib:nets.py" to `srcs` of the target']
    assert problem["target"] == "//m:it"


def test_targets_with_the_same_script_share_a_problem(build: Build) -> None:
    build.file("m/it.py", "import helpers\n").file("m/helpers.py")
    build.file(
        "m/BUILD.ml",
        "".join(
            f'process(name = "{name}", script = "it.py", outs = ["o"])\n' for name in ("a", "b")
        ),
    )

    (problem,) = problems(build.run("check", "--json"))

    assert problem["message"].endswith("inputs of `//m:a` and of 1 other target")


def test_scripts_are_never_run_and_edits_are_seen(build: Build) -> None:
    script(build, "open('ran', 'w')\nimport helpers\n").file("m/helpers.py")
    first = told(build)

    build.file("m/it.py", "open('ran', 'w')\n")

    assert (first, told(build)) == ([("undeclared-import", "m/it.py:2:8")], [])
    assert not list(build.root.rglob("ran"))


def test_what_is_kept_of_scripts_may_be_damaged(build: Build) -> None:
    script(build, "import helpers\n").file("m/helpers.py")
    before = told(build)
    (build.root / ".mlbuild/imports").write_bytes(b"\0" * 100)

    assert told(build) == before


# For programs


def test_sarif_is_what_a_code_host_accepts(build: Build) -> None:
    read_case(MANY).make(str(build.root))

    done = build.run("check", "--sarif", "out.sarif")
    log = json.loads((build.root / "out.sarif").read_text())

    assert done.code == 2
    assert done.stdout.startswith("warning[unused-load]: ")
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], run["columnKind"]) == ("mlbuild", "unicodeCodePoints")
    assert [one["id"] for one in driver["rules"]] == list(KINDS)
    for one in driver["rules"]:
        assert one["defaultConfiguration"]["level"] in {"error", "warning"}
        assert all(one[text]["text"] for text in ("shortDescription", "fullDescription", "help"))
    base = run["originalUriBaseIds"]["WORKSPACE"]["uri"]
    assert base == f"file://{build.root}/"
    found = problems(build.run("check", "--json"))
    assert len(run["results"]) == len(found)
    for result, problem in zip(run["results"], found, strict=True):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == problem["rule"]
        assert result["level"] == problem["severity"]
        assert result["message"]["text"].startswith(problem["message"])
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"] == {"uri": problem["path"], "uriBaseId": "WORKSPACE"}
        assert place["region"]["startLine"] == problem["line"]
        assert 1 <= place["region"]["startColumn"] < place["region"]["endColumn"]


def test_sarif_goes_to_stdout_when_it_is_asked_to(build: Build) -> None:
    build.file("a b/BUILD.ml", 'filegroup(name = "t", srcs = ["none"])\n')

    done = build.run("check", "--sarif", "-")

    (result,) = json.loads(done.stdout)["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "a%20b/BUILD.ml"


def test_json_has_counts(build: Build) -> None:
    build.file("BUILD.ml", 'filegroup(name = "t", srcs = ["none"])\n')

    done = build.run("check", "--json")

    report = json.loads(done.stdout)
    assert report.pop("seconds") >= 0
    assert report == {
        "problems": [
            {
                "rule": "unknown-target",
                "severity": "error",
                "message": "no target or file `none` in package `//`",
                "path": "BUILD.ml",
                "line": 1,
                "column": 32,
                "length": 4,
                "hints": ["its targets are: t"],
                "notes": [],
                "target": "//:t",
            }
        ],
        "packages": 1,
        "targets": 1,
    }


@pytest.mark.parametrize(
    "words", [["--sarif"], ["--sarif="], ["--json", "--sarif", "-"], ["--sarif", "no/folder"]]
)
def test_words_that_cannot_be_meant_are_refused(build: Build, words: list[str]) -> None:
    build.file("BUILD.ml", 'filegroup(name = "t")\n')

    done = build.run("check", *words)

    assert done.code in {2, 36}
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


def test_every_kind_of_problem_is_documented() -> None:
    page = (REPOSITORY / "docs/cli.md").read_text()

    assert all(f"| `{name}` | {one.severity} | {one.doc}" in page for name, one in KINDS.items())
