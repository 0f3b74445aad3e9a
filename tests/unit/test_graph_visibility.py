"""Visibility: which package may name what, and package() that decides for all."""

from pathlib import Path

import pytest

from tests.graphs import Graph

PRIVATE = 'package(default_visibility = ["//visibility:private"])\n'


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path / "w")


def group_of(*labels: str) -> str:
    return f'filegroup(name = "g", srcs = {list(labels)})\n'.replace("'", '"')


def test_everything_is_visible_where_nothing_is_said(graph: Graph) -> None:
    graph.file("data/BUILD.ml", 'filegroup(name = "all")\n').file("data/a.csv")
    graph.file("models/BUILD.ml", group_of("//data:all", "//data:a.csv"))

    assert graph.plan("//models:g").targets["//models:g"].outputs == ("data/a.csv",)


def test_a_private_target_is_an_error_at_the_label(graph: Graph) -> None:
    graph.file("data/BUILD.ml", 'filegroup(name = "all", visibility = ["//visibility:private"])\n')
    graph.file("models/BUILD.ml", group_of("//data:all"))

    error = graph.refused("//models:g")

    assert error.message == "target `//data:all` is not visible from `//models:g`"
    assert graph.shown(error) == "models/BUILD.ml:1: //data:all"
    assert error.notes == (
        "`//data:all` is declared at data/BUILD.ml:1:1 and visible to `//visibility:private`",
    )
    assert error.hints == ('add `"//models:__pkg__"` to its `visibility`',)


def test_the_own_package_and_the_command_line_see_all(graph: Graph) -> None:
    graph.file("data/BUILD.ml", PRIVATE + 'filegroup(name = "all")\n' + group_of(":all"))

    assert list(graph.plan("//data:g", "//data:all").targets) == ["//data:all", "//data:g"]


@pytest.mark.parametrize(
    ("visibility", "package", "seen"),
    [
        ("//models:__pkg__", "models", True),
        ("//models:__pkg__", "models/old", False),
        ("//models:__subpackages__", "models", True),
        ("//models:__subpackages__", "models/old", True),
        ("//models:__subpackages__", "modelsold", False),
        ("//:__subpackages__", "anything/at/all", True),
        ("//:__pkg__", "models", False),
        (":team", "models/old", False),
        (":team", "models", True),
        (":team", "reports", True),
        (":team", "tools", False),
        ("//visibility:public", "tools", True),
    ],
)
def test_visibility_names_packages(
    graph: Graph, visibility: str, package: str, *, seen: bool
) -> None:
    graph.file(
        "data/BUILD.ml",
        'package_group(name = "more", packages = ["//reports"])\n'
        'package_group(name = "team", packages = ["//models/...", "-//models/old"], '
        'includes = [":more"])\n'
        f'filegroup(name = "all", visibility = ["{visibility}"])\n',
    )
    graph.file(f"{package}/BUILD.ml", group_of("//data:all"))

    if seen:
        assert graph.plan(f"//{package}:g")
    else:
        assert "is not visible from" in graph.refused(f"//{package}:g").message


def test_an_output_is_as_visible_as_its_target(graph: Graph) -> None:
    graph.file("data/BUILD.ml", PRIVATE + 'genrule(name = "a", outs = ["a.csv"], cmd = "x > $@")\n')
    graph.file("models/BUILD.ml", group_of("//data:a.csv"))

    assert "target `//data:a` is not visible" in graph.refused("//models:g").message


def test_a_file_follows_its_package_unless_it_is_exported(graph: Graph) -> None:
    graph.file("data/a.csv").file("data/img/b.png")
    graph.file("data/BUILD.ml", PRIVATE + 'exports_files(["img"])\n')
    graph.file("models/BUILD.ml", group_of("//data:a.csv"))
    graph.file("reports/BUILD.ml", group_of("//data:img/b.png"))

    error = graph.refused("//models:g")

    assert error.message == "file `//data:a.csv` is not visible from `//models:g`"
    assert error.hints[0].startswith('write `exports_files(["a.csv"], visibility')
    assert graph.plan("//reports:g")


def test_exported_files_may_be_for_some(graph: Graph) -> None:
    graph.file("data/a.csv")
    graph.file("data/BUILD.ml", 'exports_files(["a.csv"], visibility = ["//models:__pkg__"])\n')
    graph.file("models/BUILD.ml", group_of("//data:a.csv"))
    graph.file("reports/BUILD.ml", group_of("//data:a.csv"))

    assert graph.plan("//models:g")
    assert "is not visible" in graph.refused("//reports:g").message


def test_conditions_have_visibility_too(graph: Graph) -> None:
    graph.file("c/BUILD.ml", PRIVATE + 'config_setting(name = "x", values = {"a": "b"})\n')
    graph.file(
        "m/BUILD.ml",
        'filegroup(name = "g", srcs = select({"//c:x": [], "//conditions:default": []}))\n',
    )

    assert "target `//c:x` is not visible from `//m:g`" in graph.refused("//m:g").message


def test_an_alias_shows_what_it_sees_itself(graph: Graph) -> None:
    graph.file(
        "data/BUILD.ml",
        PRIVATE
        + 'filegroup(name = "all")\n'
        + 'alias(name = "open", actual = ":all", visibility = ["//visibility:public"])\n',
    )
    graph.file("models/BUILD.ml", group_of("//data:open"))

    assert graph.plan("//models:g")


def test_what_a_rule_brings_along_is_visible_to_its_users(graph: Graph) -> None:
    graph.file("tools/BUILD.ml", PRIVATE).file("tools/run.py")
    graph.file(
        "tools/defs.bzl",
        "def _impl(ctx):\n    return struct(files = [ctx.attr._run])\n"
        'run = rule(_impl, attrs = {"_run": attr.label(default = "run.py")})\n',
    )
    graph.file("models/BUILD.ml", 'load("//tools:defs.bzl", "run")\nrun(name = "r")\n')

    assert graph.plan("//models:r").targets["//models:r"].outputs == ("tools/run.py",)


def test_a_package_decides_for_its_targets(graph: Graph) -> None:
    graph.file(
        "BUILD.ml",
        'package(default_visibility = ["//a:__pkg__"], licenses = ["MIT"], tags = ["x"])\n'
        'filegroup(name = "one")\n'
        'filegroup(name = "two", tags = ["y"], licenses = ["BSD-3-Clause"], '
        'visibility = ["//visibility:public"])\n',
    )

    one, two = graph.targets("//:one", "//:two").values()

    assert (one.visibility, one.tags, one.licenses) == (("//a:__pkg__",), ("x",), ("MIT",))
    assert (two.tags, two.licenses) == (("x", "y"), ("BSD-3-Clause",))
    assert two.visibility == ("//visibility:public",)


def test_licenses_are_those_of_the_targets_below(graph: Graph) -> None:
    graph.file("BUILD.ml", 'licenses(["Apache-2.0"])\nfilegroup(name = "one")\n')

    assert graph.targets("//:one")["//:one"].licenses == ("Apache-2.0",)


def test_groups_are_no_targets(graph: Graph) -> None:
    graph.file(
        "BUILD.ml",
        'package_group(name = "team")\nfilegroup(name = "t")\n' + group_of(":team"),
    )

    assert list(graph.targets("//...")) == ["//:g", "//:t"]
    assert "`//:team` is a package_group" in graph.refused("//:g").message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PRIVATE * 2, "package() is called twice in package `//`"),
        ('filegroup(name = "a")\n' + PRIVATE, "package() must stand before"),
        ("package(visibility = [])\n", "`package` has no parameter `visibility`"),
        ('package(default_visibility = "//a:b")\n', "takes a list of strings"),
        ('package(default_visibility = ["//visibility:pubic"])\n', "is no visibility"),
        (
            'filegroup(name = "a", visibility = ["//visibility:public", "//a:__pkg__"])\n',
            "`//visibility:public` leaves no room",
        ),
        ('filegroup(name = "a", visibility = "//visibility:public")\n', "takes a list of strings"),
        ('exports_files(["a.csv"])\n', "there is no file `a.csv` to export"),
        ('exports_files(["../a.csv"])\n', "`../a.csv` cannot be exported"),
        ('package_group(name = "a", packages = ["models"])\n', "`models` names no packages"),
        ('filegroup(name = "a")\npackage_group(name = "a")\n', "`a` is declared twice"),
        ('filegroup(name = "a")\nlicenses(["MIT"])\n', "before the first target"),
        ('filegroup(name = "a", licenses = "MIT")\n', "`licenses` takes a list of strings"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_place(graph: Graph, text: str, said: str) -> None:
    graph.file("BUILD.ml", text)

    error = graph.refused()

    assert said in error.message
    assert error.span is not None
    assert error.span.path == "BUILD.ml"


def test_an_unknown_group_is_named(graph: Graph) -> None:
    graph.file("data/BUILD.ml", 'filegroup(name = "all", visibility = ["//:tam"])\n')
    graph.file("BUILD.ml", 'package_group(name = "team")\n')
    graph.file("models/BUILD.ml", group_of("//data:all"))

    error = graph.refused("//models:g")

    assert error.message == "there is no package_group `//:tam`"
    assert error.hints == ("did you mean `team`?",)
    assert error.span is not None
