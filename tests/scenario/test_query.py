"""`mlbuild query` and `mlbuild actions`, as a user gives them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, Build


@pytest.fixture
def lenet(tmp_path: Path) -> Build:
    """Return a copy of the example, which nobody has built."""
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild")
    shutil.copytree(REPOSITORY / "examples/lenet", tmp_path / "lenet", ignore=ignored)
    return Build(tmp_path / "lenet", cache=tmp_path / "cache")


@pytest.fixture
def chain(build: Build) -> Build:
    """Return targets in a row: `one` reads a source, `two` reads `one`; `all` names both."""
    build.file("src.txt", "a\n").genrule("one", "cat", "src.txt").genrule("two", "cat", ":one")
    build.edit("BUILD.ml", "genrule", 'filegroup(name = "both", srcs = [":one", ":two"])\ngenrule')
    build.flags = ["--executor", "process"]
    return build


def git(build: Build, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=build.root, check=True, capture_output=True)


def test_the_short_form_lists_environment_data_script_and_their_files(lenet: Build) -> None:
    short = lenet.run("query", "--no-implicit", "deps", "//models:lenet")
    long = lenet.run("query", "--no-implicit", "deps(//models:lenet)")

    assert short.stdout.split() == [
        "//:env",
        "//:requirements.lock",
        "//data:mnist",
        "//data:train-images-idx3-ubyte.gz",
        "//data:train-labels-idx1-ubyte.gz",
        "//models:digits.py",
        "//models:layers.py",
        "//models:lenet",
        "//models:network.py",
        "//models:train.py",
    ]
    assert (long.stdout, long.stderr, long.code) == (short.stdout, "", 0)


def test_what_rules_need_by_themselves_is_shown_too(lenet: Build) -> None:
    found = lenet.run("query", "deps", "//models:lenet", "1")

    assert "@rules//tools/run_python.py" in found.stdout.split()


def test_patterns_side_by_side_still_select(chain: Build) -> None:
    assert chain.run("query", "//...").stdout.split() == ["//:both", "//:one", "//:two"]
    assert chain.run("query", "//...", "-//:one").stdout.split() == ["//:both", "//:two"]
    assert chain.run("query", ":two", ":one").stdout.split() == ["//:one", "//:two"]
    assert json.loads(chain.run("query", "--json", ":one").stdout)[0]["rule"] == "genrule"


def test_labels_that_no_expression_holds_bare_are_found(build: Build) -> None:
    build.file("BUILD.ml", 'filegroup(name = "a b")\nfilegroup(name = "c+d")\n')

    assert build.run("query", ":a b").stdout == "//:a b\n"
    assert build.run("query", "//:c+d").stdout == "//:c+d\n"
    assert build.run("query", '"//:c+d" + ":a b"').stdout == "//:a b\n//:c+d\n"
    assert build.run("query", "//:c d").code == 2


def test_words_may_come_in_several_arguments(chain: Build) -> None:
    found = chain.run("query", "deps(:two)", "-", ":one", "-o", "label_kind", "--order", "deps")

    assert found.stdout.splitlines() == ["genrule rule //:two", "source file //:src.txt"]


def test_a_query_with_a_fault_points_at_it(chain: Build) -> None:
    done = chain.run("query", "deps(//:one) + dept(//:two)")

    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: there is no function `dept`",
        " --> query:1:16",
        "  |",
        "1 | deps(//:one) + dept(//:two)",
        "  |                ^^^^",
        "hint: did you mean `deps`?",
    ]


def test_what_is_stale_is_told_before_and_after_a_build(chain: Build) -> None:
    def ask(*words: str) -> list[str]:
        return chain.run("query", *chain.flags, *words).stdout.split()

    assert ask("stale") == ["//:one", "//:two"]
    assert ask("cached") == []

    chain("//:one")

    assert ask("stale") == ["//:two"]
    assert ask("cached()") == ["//:one"]
    assert ask("stale(//:one)") == []
    chain("//...")
    assert ask("cached()") == ["//:both", "//:one", "//:two"]


def test_what_a_commit_affects_is_told(chain: Build) -> None:
    chain.file(".gitignore", "/mlbuild-out\n/.mlbuild\n").file("b/BUILD.ml").file("b/c.txt")
    chain.genrule("other", "cat", "c.txt", package="b")
    git(chain, "init", "-q")
    git(chain, "add", "-A")
    git(chain, "commit", "-qm", "first")
    before = chain.run("query", "affected", "HEAD")
    chain.file("src.txt", "b\n")

    edited = chain.run("query", "affected(HEAD)")

    assert (before.stdout, before.code) == ("", 0)
    assert edited.stdout.split() == ["//:both", "//:one", "//:two"]
    assert chain.run("query", "affected(HEAD) ^ //:two").stdout == "//:two\n"
    wrong = chain.run("query", "affected(no-such-commit)")
    assert (wrong.code, wrong.stdout) == (2, "")
    assert "1 | affected(no-such-commit)" in wrong.stderr


def test_going_on_shows_the_rest_and_exits_with_2(chain: Build) -> None:
    chain.file("bad/BUILD.ml", "genrule(")

    whole = chain.run("query", "//...")
    rest = chain.run("query", "-k", "//...")
    elsewhere = chain.run("query", "deps(//:two)")

    assert (whole.code, whole.stdout) == (2, "")
    assert (rest.code, rest.stdout.split()) == (2, ["//:both", "//:one", "//:two"])
    assert "bad/BUILD.ml:1:8" in rest.stderr
    assert (elsewhere.code, elsewhere.stderr) == (0, "")


def test_odd_names_are_written_out_or_end_with_a_nul(build: Build) -> None:
    build.file("BUILD.ml", 'filegroup(name = "g", srcs = glob(["d/*"]))\n').file("d/a\nb")
    with open(os.fsencode(build.root / "d") + b"/\xff", "wb"):
        pass

    plain = build.run("query", "deps(//:g)")
    raw = build.run("query", "--null", "deps(//:g)")
    lines = build.run("query", "-o", "ndjson", "deps(//:g)")

    assert plain.stdout.splitlines() == ["//:d/a\\nb", "//:d/\\udcff", "//:g"]
    assert raw.stdout.split("\0") == ["//:d/a\nb", "//:d/\udcff", "//:g", ""]
    assert [json.loads(line)["label"] for line in lines.stdout.splitlines()] == [
        "//:d/a\nb",
        "//:d/\udcff",
        "//:g",
    ]
    assert lines.stdout.encode().decode("utf-8") == lines.stdout


def test_somebody_who_stops_reading_is_no_error(chain: Build) -> None:
    command = " ".join(chain.command("query", "'deps(//...)'", "--null"))

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=chain.root,
        env=chain.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("0\n", "")


def test_actions_show_command_inputs_and_key(chain: Build) -> None:
    unbuilt = json.loads(chain.run("actions", "--json", "//:two").stdout)
    chain("//...")
    (built,) = json.loads(chain.run("actions", "--json", "//:two", "--executor=process").stdout)
    text = chain.run("actions", "//:one", "--executor=process").stdout

    assert (unbuilt[0]["key"], unbuilt[0]["state"]) == (None, "would run")
    assert unbuilt[0]["inputs"][-1] == {
        "path": "mlbuild-out/one/one.txt",
        "digest": None,
        "from": "//:one",
    }
    assert (built["id"], built["mnemonic"], built["state"]) == ("//:two", "genrule", "cached")
    assert len(built["key"]) == 64
    assert built["inputs"][-1]["digest"].startswith("f:")
    assert built["outputs"] == ["mlbuild-out/two/two.txt"]
    assert any("mlbuild-out/one/one.txt" in word for word in built["argv"])
    assert text.splitlines()[0] == "//:one  (genrule, cached)"
    assert "  input    src.txt" in text.splitlines()
    assert "  output   mlbuild-out/one/one.txt" in text.splitlines()


def test_the_key_that_actions_show_is_that_of_the_build(chain: Build) -> None:
    chain("//:one", "--events", str(chain.root / "events"))
    events = [json.loads(line) for line in (chain.root / "events").read_text().splitlines()]

    (shown,) = json.loads(chain.run("actions", "--json", "//:one", "--executor=process").stdout)

    assert shown["key"] in {event.get("key") for event in events}


def test_a_target_without_actions_says_so(chain: Build) -> None:
    done = chain.run("actions", "//:both")
    nothing = chain.run("actions")

    assert (done.code, done.stdout) == (0, "")
    assert done.stderr == "`//:both` runs nothing of its own\n"
    assert (nothing.code, "no target is named" in nothing.stderr) == (2, True)
