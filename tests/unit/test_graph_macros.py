"""Macros: targets know who declared them, in errors and in what `mlbuild query` shows."""

from pathlib import Path

import pytest

from mlbuild import lang
from mlbuild.lang.format import formatted
from mlbuild.query.render import FORMS
from tests.graphs import Graph

MACROS = (
    "def pair(name, **kwargs):\n"
    '    for end in ["_a", "_b"]:\n'
    "        filegroup(name = name + end, **kwargs)\n"
    "def twins(name, **kwargs):\n"
    "    pair(name = name, **kwargs)\n"
)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path / "w").file("tools/defs.bzl", MACROS)


def test_an_error_in_a_macros_target_shows_the_way_there(graph: Graph) -> None:
    graph.file(
        "models/BUILD.ml",
        'load("//tools:defs.bzl", "twins")\n\ntwins(name = "x", srcs = ["none.txt"])\n',
    )

    error = graph.refused()

    assert graph.shown(error) == "models/BUILD.ml:3: none.txt"
    assert error.notes == (
        "in target `//models:x_a`, declared at models/BUILD.ml:3:1",
        "in macro `pair`, called at tools/defs.bzl:5:5",
        "in macro `twins`, called at models/BUILD.ml:3:1",
    )


def test_a_wrong_attribute_is_found_where_the_user_wrote_it(graph: Graph) -> None:
    graph.file(
        "models/BUILD.ml", 'load("//tools:defs.bzl", "twins")\ntwins(name = "x", scrs = [])\n'
    )

    error = graph.refused()

    assert graph.shown(error) == "models/BUILD.ml:2: scrs"
    assert error.notes == (
        "called at tools/defs.bzl:3:9 in `pair`",
        "called at tools/defs.bzl:5:5 in `twins`",
        "called at models/BUILD.ml:2:1",
    )


def test_an_error_of_a_macro_itself_points_into_it(graph: Graph) -> None:
    graph.file(
        "tools/defs.bzl",
        "def m(name):\n    filegroup(\n        name = name,\n        scrs = [],\n    )\n",
    )
    graph.file("BUILD.ml", 'load("//tools:defs.bzl", "m")\nm(name = "x")\n')

    assert graph.shown(graph.refused()) == "tools/defs.bzl:4: scrs"


def test_macros_work_in_the_package_that_calls_them(graph: Graph) -> None:
    graph.file("models/a.txt").file(
        "tools/defs.bzl",
        'def m():\n    filegroup(name = package_name() + "_all", srcs = glob(["*.txt"]))\n',
    )
    graph.file("models/BUILD.ml", 'load("//tools:defs.bzl", "m")\nm()\n')

    assert graph.plan("//...").targets["//models:models_all"].outputs == ("models/a.txt",)


def test_build_output_is_what_was_written(graph: Graph) -> None:
    graph.file(
        "models/BUILD.ml",
        'load("//tools:defs.bzl", "twins")\n'
        'twins(name = "x", srcs = ["a", "b"] + select({":c": ["d"], "//conditions:default": []}))\n'
        'genrule(name = "g", outs = ["o"], cmd = "echo \\"$$HOME\\" > $@", env = {"A": "1"}, '
        'srcs = None, resources = {"cpus": 2, "memory": "1Gi"}, tags = ["slow"])\n',
    )

    lines = FORMS["build"](graph.targets("//models:x_b", "//models:g").values())

    assert "\n".join(lines) == (
        "# models/BUILD.ml:2:1\n"
        "# in macro pair, called at tools/defs.bzl:5:5\n"
        "# in macro twins, called at models/BUILD.ml:2:1\n"
        "filegroup(\n"
        '    name = "x_b",\n'
        "    srcs = [\n"
        '        "a",\n'
        '        "b",\n'
        "    ] + select({\n"
        '        ":c": ["d"],\n'
        '        "//conditions:default": [],\n'
        "    }),\n"
        ")\n"
        "\n"
        "# models/BUILD.ml:3:1\n"
        "genrule(\n"
        '    name = "g",\n'
        '    outs = ["o"],\n'
        '    cmd = "echo \\"$$HOME\\" > $@",\n'
        '    env = {"A": "1"},\n'
        "    resources = {\n"
        '        "cpus": 2,\n'
        '        "memory": "1Gi",\n'
        "    },\n"
        '    tags = ["slow"],\n'
        ")"
    )


def test_build_output_declares_the_same_again(graph: Graph) -> None:
    graph.file("c/BUILD.ml", 'config_setting(name = "c", values = {"x": "y"})\n')
    graph.file(
        "m/BUILD.ml",
        'load("//tools:defs.bzl", "twins")\n'
        'twins(name = "x", srcs = ["//c"] + select({"//c": ["//c"]}, no_match_error = "no"))\n',
    )
    before = list(graph.targets("//m:all").values())

    text = "\n".join(FORMS["build"](before)) + "\n"
    assert formatted(text.encode(), "BUILD.ml", dialect=lang.Dialect.BUILD).decode() == text
    graph.file("m/BUILD.ml", text)
    after = list(graph.targets("//m:all").values())

    assert [(one.label, one.attributes, one.given) for one in after] == [
        (one.label, one.attributes, one.given) for one in before
    ]


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("label", "//m:t"),
        ("label_kind", "filegroup rule //m:t"),
        ("location", "m/BUILD.ml:1:1: filegroup rule //m:t"),
        (
            "json",
            """[{"label": "//m:t", "rule": "filegroup", "location": "m/BUILD.ml:1:1", \
"macros": [], "attributes": {"srcs": []}, "visibility": ["//visibility:public"], \
"tags": ["x"], "licenses": [], "cache": ""}]""",
        ),
    ],
)
def test_targets_are_shown_as_asked_for(graph: Graph, form: str, shown: str) -> None:
    graph.file("m/BUILD.ml", 'filegroup(name = "t", tags = ["x"])\n')

    assert FORMS[form](graph.targets("//m:t").values()) == [shown]
