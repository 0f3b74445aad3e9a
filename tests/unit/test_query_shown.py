"""What a query shows: every form of output, every order, and names that are hard to show."""

import json
import os
from pathlib import Path

import pytest

from mlbuild.errors import InputError
from tests.asked import Asked

BUILD = """\
filegroup(name = "top", srcs = [":left", ":right"], tags = ["x"])
filegroup(name = "left", srcs = [":low"])
filegroup(name = "right", srcs = [":left", "//b:far"])
genrule(name = "low", outs = ["low.txt"], cmd = "echo > $@", srcs = ["in.txt"])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = Asked(tmp_path_factory.mktemp("shown") / "w")
    asked.file("a/BUILD.ml", BUILD).file("a/in.txt")
    asked.file("b/BUILD.ml", 'filegroup(name = "far", srcs = ["//a:low.txt"])\n')
    return asked.root


@pytest.fixture
def ask(place: Path) -> Asked:
    return Asked(place)


ALL = "deps(//a:top)"


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        (
            "label",
            [
                "//a:in.txt",
                "//a:left",
                "//a:low",
                "//a:low.txt",
                "//a:right",
                "//a:top",
                "//b:far",
            ],
        ),
        (
            "label_kind",
            [
                "source file //a:in.txt",
                "filegroup rule //a:left",
                "genrule rule //a:low",
                "generated file //a:low.txt",
                "filegroup rule //a:right",
                "filegroup rule //a:top",
                "filegroup rule //b:far",
            ],
        ),
        (
            "location",
            [
                "a/in.txt:1:1: source file //a:in.txt",
                "a/BUILD.ml:2:1: filegroup rule //a:left",
                "a/BUILD.ml:4:1: genrule rule //a:low",
                "a/BUILD.ml:4:1: generated file //a:low.txt",
                "a/BUILD.ml:3:1: filegroup rule //a:right",
                "a/BUILD.ml:1:1: filegroup rule //a:top",
                "b/BUILD.ml:1:1: filegroup rule //b:far",
            ],
        ),
        ("package", ["//a", "//b"]),
        (
            "minrank",
            [
                "0 //a:top",
                "1 //a:left",
                "1 //a:right",
                "2 //a:low",
                "2 //b:far",
                "3 //a:in.txt",
                "3 //a:low.txt",
            ],
        ),
        (
            "maxrank",
            [
                "0 //a:top",
                "1 //a:right",
                "2 //a:left",
                "2 //b:far",
                "3 //a:low.txt",
                "4 //a:low",
                "5 //a:in.txt",
            ],
        ),
        (
            "tree",
            [
                "//a:top",
                "├── //a:left",
                "│   └── //a:low",
                "│       └── //a:in.txt",
                "└── //a:right",
                "    ├── //a:left (see above)",
                "    └── //b:far",
                "        └── //a:low.txt",
                "            └── //a:low (see above)",
            ],
        ),
    ],
)
def test_a_list_is_shown_as(ask: Asked, output: str, lines: list[str]) -> None:
    assert ask.shown(ALL, output=output) == lines


def test_graphs_have_the_edges_among_what_was_found(ask: Asked) -> None:
    query = "set(//a:top //a:left //a:low)"

    assert ask.shown(query, output="graph") == [
        "digraph mlbuild {",
        "  node [shape=box];",
        '  "//a:left"',
        '  "//a:low"',
        '  "//a:top"',
        '  "//a:left" -> "//a:low"',
        '  "//a:top" -> "//a:left"',
        "}",
    ]
    assert ask.shown(query, output="mermaid") == [
        "graph TD",
        '  n0["//a:left"]',
        '  n1["//a:low"]',
        '  n2["//a:top"]',
        "  n0 --> n1",
        "  n2 --> n0",
    ]


def test_targets_are_shown_as_the_calls_that_declare_them(ask: Asked) -> None:
    assert ask.shown("//a:top + //a:in.txt", output="build") == [
        "# a/BUILD.ml:1:1",
        "filegroup(",
        '    name = "top",',
        "    srcs = [",
        '        ":left",',
        '        ":right",',
        "    ],",
        '    tags = ["x"],',
        ")",
    ]


def test_json_has_targets_and_files(ask: Asked) -> None:
    (text,) = ask.shown("set(//a:top //a:in.txt //a:low.txt)", output="json")
    lines = ask.shown("set(//a:top //a:in.txt //a:low.txt)", output="ndjson")

    found = json.loads(text)
    assert found == [json.loads(line) for line in lines]
    assert found[0] == {"label": "//a:in.txt", "kind": "source file", "location": "a/in.txt:1:1"}
    assert (found[1]["kind"], found[1]["generator"]) == ("generated file", "//a:low")
    assert found[2] == {
        "label": "//a:top",
        "rule": "filegroup",
        "kind": "filegroup rule",
        "location": "a/BUILD.ml:1:1",
        "macros": [],
        "attributes": {"srcs": [":left", ":right"]},
        "visibility": ["//visibility:public"],
        "tags": ["x"],
        "licenses": [],
        "cache": "",
        "deps": ["//a:left", "//a:right"],
    }


@pytest.mark.parametrize(
    ("order", "lines"),
    [
        ("auto", ["//a:in.txt", "//a:left", "//a:low", "//a:top", "//b:far"]),
        ("no", ["//b:far", "//a:top", "//a:low", "//a:in.txt", "//a:left"]),
        ("deps", ["//a:top", "//b:far", "//a:left", "//a:low", "//a:in.txt"]),
        ("full", ["//a:top", "//b:far", "//a:left", "//a:low", "//a:in.txt"]),
    ],
)
def test_an_order_is_kept(ask: Asked, order: str, lines: list[str]) -> None:
    # `far` reaches `low` by way of `low.txt`, which is not among them.
    assert ask("set(//b:far //a:top //a:low //a:in.txt //a:left)", order=order) == lines


def test_names_with_line_breaks_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    ask = Asked(tmp_path / "w").file("BUILD.ml", 'filegroup(name = "g", srcs = glob(["d/*"]))\n')
    names = [b"a\nb", b"\xff", "é".encode(), b'"q"', b"#"]
    (ask.root / "d").mkdir()
    for name in names:
        Path(
            os.path.join(os.fsencode(ask.root), b"d", name).decode(errors="surrogateescape")
        ).touch()

    lines = ask.shown("deps(//:g) - //:g", output="ndjson")
    dot = ask.shown("deps(//:g) - //:g", output="graph")
    mermaid = ask.shown("deps(//:g) - //:g", output="mermaid")

    labels = [json.loads(line)["label"] for line in lines]
    assert {os.fsencode(label) for label in labels} == {b"//:d/" + name for name in names}
    assert not any("\n" in line for line in [*lines, *dot, *mermaid])
    assert '  "//:d/\\"q\\""' in dot
    assert {'"//:d/#quot;q#quot;"', '"//:d/#35;"', '"//:d/a#10;b"'} <= {
        line[line.index("[") + 1 : -1] for line in mermaid if "[" in line
    }


def test_a_broken_package_fails_only_what_needs_it(tmp_path: Path) -> None:
    ask = Asked(tmp_path / "w")
    ask.file("good/BUILD.ml", 'filegroup(name = "x", srcs = ["y"])\n').file("good/y")
    ask.file("bad/BUILD.ml", "filegroup(name = ")
    ask.file("near/BUILD.ml", 'filegroup(name = "z", srcs = ["//bad:b", "//good:x"])\n')

    assert ask("deps(//good:x)") == ["//good:x", "//good:y"]
    assert ask("//near:all + siblings(//good:x)") == [
        "//good:BUILD.ml",
        "//good:x",
        "//good:y",
        "//near:z",
    ]
    for needs_it in ("//...", "deps(//near:z)", "allrdeps(//good:x)", "owner(good/y)"):
        with pytest.raises(InputError) as caught:
            ask(needs_it)
        assert caught.value.span is not None
        assert caught.value.span.path == "bad/BUILD.ml"


def test_going_on_tells_each_fault_once(tmp_path: Path) -> None:
    ask = Asked(tmp_path / "w")
    ask.file("bad/BUILD.ml", "filegroup(name = ")
    ask.file(
        "near/BUILD.ml",
        'filegroup(name = "y", srcs = ["//bad:b", ":z"])\n'
        'filegroup(name = "z", srcs = ["//bad:c", "none.txt"])\n',
    )

    lines = ask.shown("deps(//... + //near:w)", output="label", keep_going=True)

    assert lines == ["//near:y", "//near:z"]
    assert [fault.message for fault in ask.faults] == [
        "`(` is never closed",
        "no target or file `w` in package `//near`",
        "no target or file `none.txt` in package `//near`",
    ]
