"""The functions of the query language, each on a small workspace."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from mlbuild.errors import InputError
from tests.asked import Asked

RULES = """
def _impl(ctx):
    return struct(files = ctx.files.srcs)

deep = rule(
    implementation = _impl,
    attrs = {
        "srcs": attr.label_list(),
        "params": attr.json(default = {}),
        "fast": attr.bool(default = False),
        "gates": attr.string_dict(),
        "data": attr.label_dict(),
        "_tool": attr.label(default = "//tools:tool.py"),
    },
)
shallow_test = rule(implementation = _impl, attrs = {"srcs": attr.label_list()})
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return packages in a chain: report, models, data; with tools beside them."""
    asked = Asked(tmp_path_factory.mktemp("functions") / "w")
    asked.file("tools/rules.bzl", RULES).file("tools/tool.py").file("tools/BUILD.ml")
    asked.file("tools/more.bzl", 'load("//tools:rules.bzl", _deep = "deep")\ndeep = _deep\n')
    asked.file(
        "data/BUILD.ml",
        'filegroup(name = "raw", srcs = ["a.csv", "b.csv"], tags = ["big", "slow"])\n'
        'filegroup(name = "folder", srcs = ["pictures"], visibility = ["//models:__pkg__"])\n'
        'exports_files(["c.csv"])\n'
        'package_group(name = "readers", packages = ["//reports/..."])\n',
    )
    for name in ("a.csv", "b.csv", "c.csv", "d.csv", "pictures/one.png"):
        asked.file(f"data/{name}")
    asked.file(
        "models/BUILD.ml",
        'load("//tools:more.bzl", "deep")\n'
        'deep(name = "net", srcs = ["net.py", "//data:raw"], params = {"lr": 0.1, "o": {"m": 1}})\n'
        'deep(name = "wide", srcs = [":net"], params = {"lr": 1, "sizes": [8, 16]}, fast = True)\n'
        'deep(name = "eval", data = {"model": ":net"}, gates = {"accuracy": ">= 0.9"})\n'
        'genrule(name = "gen", srcs = [":wide"], outs = ["made.txt"], cmd = "cat $(SRCS) > $@")\n'
        'config_setting(name = "gpu", values = {"device": "cuda"})\n'
        'filegroup(name = "either", srcs = ["net.py"] + select({":gpu": ["//data:c.csv"], '
        '"//conditions:default": ["//data:raw"]}))\n',
    ).file("models/net.py")
    asked.file(
        "reports/BUILD.ml",
        'load("//tools:rules.bzl", "shallow_test")\n'
        'filegroup(name = "paper", srcs = ["//models:made.txt", "//models:eval"])\n'
        'shallow_test(name = "spelling")\n'
        'test_suite(name = "checks", tests = [":spelling", ":inner"])\n'
        'test_suite(name = "inner", tests = ["//models:eval", ":paper"])\n',
    )
    asked.file(
        "more/BUILD.ml",
        'filegroup(name = "x", visibility = ["//data:readers"])\n'
        'exports_files(["y"], visibility = ["//models:__subpackages__"])\n',
    ).file("more/y")
    return asked.root


@pytest.fixture
def ask(place: Path) -> Asked:
    return Asked(place)


NET = ["//data:a.csv", "//data:b.csv", "//data:raw", "//models:net", "//models:net.py"]


def test_deps_is_all_that_something_depends_on(ask: Asked) -> None:
    assert ask("deps(//models:net)") == NET
    assert ask("deps(//models:net, 0)") == ["//models:net"]
    assert ask("deps(//models:net, 1)") == ["//data:raw", "//models:net", "//models:net.py"]
    assert ask("deps(//models:made.txt, 1)") == ["//models:gen", "//models:made.txt"]


def test_deps_goes_into_every_branch_of_a_select_and_its_conditions(ask: Asked) -> None:
    assert ask("deps(//models:either, 1)") == [
        "//data:c.csv",
        "//data:raw",
        "//models:either",
        "//models:gpu",
        "//models:net.py",
    ]


def test_what_a_rule_names_by_itself_counts_unless_it_is_left_out(ask: Asked) -> None:
    with_tools = ask.shown("deps(//models:net)", output="label", implicit=True)

    assert sorted({*with_tools} - {*NET}) == ["//tools:tool.py"]


def test_rdeps_looks_among_what_the_universe_depends_on(ask: Asked) -> None:
    assert ask("rdeps(//models:wide, //data:a.csv)") == [
        "//data:a.csv",
        "//data:raw",
        "//models:net",
        "//models:wide",
    ]
    assert ask("rdeps(//models:wide, //data:raw, 1)") == ["//data:raw", "//models:net"]
    assert ask("rdeps(//data:raw, //models:net)") == []


def test_allrdeps_looks_everywhere(ask: Asked) -> None:
    assert ask("allrdeps(//models:made.txt)") == [
        "//models:made.txt",
        "//reports:checks",
        "//reports:inner",
        "//reports:paper",
    ]
    assert ask("allrdeps(//data:a.csv, 1)") == ["//data:a.csv", "//data:raw"]


def test_somepath_is_one_shortest_path_in_its_order(ask: Asked) -> None:
    assert ask("somepath(//reports:paper, //data:a.csv)") == [
        "//reports:paper",
        "//models:eval",
        "//models:net",
        "//data:raw",
        "//data:a.csv",
    ]
    assert ask("somepath(//data:raw, //reports:paper)") == []
    assert ask("somepath(//data:raw + //models:net, //models:net)") == ["//models:net"]


def test_allpaths_is_everything_on_the_way(ask: Asked) -> None:
    assert ask("allpaths(//reports:paper, //models:net)") == [
        "//models:eval",
        "//models:gen",
        "//models:made.txt",
        "//models:net",
        "//models:wide",
        "//reports:paper",
    ]


def test_kind_looks_at_rules_and_files(ask: Asked) -> None:
    assert ask('kind("deep rule", //...)') == ["//models:eval", "//models:net", "//models:wide"]
    assert ask('kind("source file", deps(//models:net))') == [NET[0], NET[1], NET[4]]
    assert ask('kind("^generated file$", //models:*)') == ["//models:made.txt"]
    assert ask('kind("package group", //data:*)') == ["//data:readers"]


def test_filter_looks_at_labels(ask: Asked) -> None:
    assert ask(r'filter("\.csv$", deps(//models:net))') == NET[:2]


@pytest.mark.parametrize(
    ("name", "regex", "found"),
    [
        ("tags", r"[\[ ]slow[,\]]", ["//data:raw"]),
        ("tags", r"^\[big, slow\]$", ["//data:raw"]),
        ("srcs", "^\\[//models:net.py, //data:raw\\]$", ["//models:either", "//models:net"]),
        ("srcs", "c.csv", ["//models:either"]),  # of a branch
        ("fast", "1", ["//models:wide"]),
        ("fast", "True", ["//models:wide"]),
        ("fast", "0", ["//models:eval", "//models:net"]),  # by default
        ("name", "^(raw|net)$", ["//data:raw", "//models:net"]),
        ("visibility", "//models:__pkg__", ["//data:folder"]),
        ("data", "model=//models:net", ["//models:eval"]),
        ("params", '"lr": 0.1', ["//models:net"]),
        ("outs", "//models:made", ["//models:gen"]),
    ],
)
def test_attr_looks_at_values(ask: Asked, name: str, regex: str, found: list[str]) -> None:
    assert ask("attr", name, regex, "//...") == found


def test_an_attribute_of_other_rules_is_not_wrong_and_one_of_none_is(ask: Asked) -> None:
    other = ask("attr(lock, x, //data:all)")

    assert other == []
    with pytest.raises(InputError, match="no rule has an attribute `tag`") as caught:
        ask("attr(tag, x, //data:all)")
    assert caught.value.hints == ("did you mean `tags`?",)


def test_labels_is_what_an_attribute_names(ask: Asked) -> None:
    assert ask("labels(srcs, //models:net + //data:raw)") == [NET[0], NET[1], NET[2], NET[4]]
    assert ask("labels(data, //models:all)") == ["//models:net"]
    assert ask("labels(outs, //models:gen)") == ["//models:made.txt"]
    assert ask("labels(_tool, //models:net)") == ["//tools:tool.py"]


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("lr", "0.1", ["//models:net"]),
        ("lr", "1e-1", ["//models:net"]),
        ("lr", "1.0", ["//models:wide"]),
        ("lr", "True", []),
        ("o.m", "1", ["//models:net"]),
        ("sizes", "16", ["//models:wide"]),
        ("sizes", "[8, 16]", ["//models:wide"]),
        ("none", "1", []),
    ],
)
def test_params_looks_at_parameters(ask: Asked, key: str, value: str, found: list[str]) -> None:
    assert ask("params", key, value, "//...") == found


def test_tests_are_checks_and_what_suites_list(ask: Asked) -> None:
    assert ask("tests(//models:all)") == ["//models:eval"]
    assert ask("tests(//reports:checks)") == [
        "//models:eval",
        "//reports:paper",
        "//reports:spelling",
    ]
    assert ask("tests(//data:all)") == []


def test_some_is_the_first_by_label(ask: Asked) -> None:
    assert ask("some(//...)") == ["//data:folder"]
    assert ask("some(//data:all, 5)") == ["//data:folder", "//data:raw"]
    with pytest.raises(InputError, match="nothing to choose from"):
        ask("some(//data:all ^ //models:all)")


def test_siblings_are_all_of_a_package(ask: Asked) -> None:
    assert ask("siblings(//data:a.csv)") == [
        "//data:BUILD.ml",
        "//data:a.csv",
        "//data:b.csv",
        "//data:c.csv",  # exported; nobody names d.csv
        "//data:folder",
        "//data:pictures",
        "//data:raw",
        "//data:readers",
    ]


def test_same_pkg_direct_rdeps_stays_in_the_package(ask: Asked) -> None:
    assert ask("same_pkg_direct_rdeps(//models:net)") == ["//models:eval", "//models:wide"]
    assert ask("same_pkg_direct_rdeps(//data:raw)") == []


def test_files_of_packages(ask: Asked) -> None:
    assert ask("loadfiles(//models:net)") == ["//tools:more.bzl", "//tools:rules.bzl"]
    assert ask("buildfiles(//models:net + //data:raw)") == [
        "//data:BUILD.ml",
        "//models:BUILD.ml",
        "//tools:BUILD.ml",
        "//tools:more.bzl",
        "//tools:rules.bzl",
    ]
    assert ask("rbuildfiles(tools/more.bzl)") == ["//models:BUILD.ml"]
    assert ask("rbuildfiles(//tools:rules.bzl)") == ["//models:BUILD.ml", "//reports:BUILD.ml"]
    assert ask("rbuildfiles(data/BUILD.ml, none.bzl)") == ["//data:BUILD.ml"]


def test_visible_asks_for_all_who_want_to_see(ask: Asked) -> None:
    assert ask("visible(//models:net, //data:all)") == ["//data:folder", "//data:raw"]
    assert ask("visible(//models:net + //reports:paper, //data:all)") == ["//data:raw"]
    assert ask("visible(//data:raw, //data:all)") == ["//data:folder", "//data:raw"]


def test_visible_follows_package_groups_and_exported_files(ask: Asked) -> None:
    assert ask("visible(//reports:paper, //more:*)") == ["//more:BUILD.ml", "//more:x"]
    assert ask("visible(//models:net, //more:*)") == ["//more:BUILD.ml", "//more:y"]


def test_inputs_are_files_of_the_workspace(ask: Asked) -> None:
    assert ask("inputs(//models:net)") == [NET[0], NET[1], NET[4]]
    assert ask("inputs(//data:folder)") == ["//data:pictures"]


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("models/net.py", ["//models:either", "//models:net"]),
        ("//models:net.py", ["//models:either", "//models:net"]),
        ("data/pictures/one.png", ["//data:folder"]),
        ("data/c.csv", ["//models:either"]),
        ("data/d.csv", []),
        ("data/BUILD.ml", ["//data:folder", "//data:raw"]),
    ],
)
def test_owner_is_who_names_a_file(ask: Asked, file: str, found: list[str]) -> None:
    assert ask("owner", file) == found


def test_owner_of_a_loaded_file_is_all_of_the_packages_that_load_it(ask: Asked) -> None:
    assert ask("owner(tools/more.bzl)") == ask("//models:all")


def test_owner_sees_paths_from_the_current_folder(ask: Asked) -> None:
    ask.package = "models"

    assert ask("owner", "net.py") == ["//models:either", "//models:net"]
    assert ask("owner", "../data/a.csv") == ["//data:raw"]


def test_sets_and_variables(ask: Asked) -> None:
    assert ask("set(//data:raw //models:net) - //models/...") == ["//data:raw"]
    assert ask("let x = //data:all in $x ^ deps(//models:net)") == ["//data:raw"]
    assert ask("let x = //data:raw in let x = //models:net in $x") == ["//models:net"]
    assert ask("(//data:all + //models:net) ^ //data:raw + //models:wide") == [
        "//data:raw",
        "//models:wide",
    ]


@pytest.mark.parametrize(
    ("pattern", "package", "found"),
    [
        ("//data", "", None),
        ("//data:all", "", ["//data:folder", "//data:raw"]),
        ("data/...", "", ["//data:folder", "//data:raw"]),
        (":raw", "data", ["//data:raw"]),
        ("...", "data", ["//data:folder", "//data:raw"]),
        ("a.csv", "data", ["//data:a.csv"]),
        ("data/a.csv", "", ["//data:a.csv"]),
        ("data/pictures/one.png", "", ["//data:pictures/one.png"]),
        ("//models:gen/made.txt", "", ["//models:gen/made.txt"]),
        ("//data/...:all", "", ["//data:folder", "//data:raw"]),
    ],
)
def test_patterns(ask: Asked, pattern: str, package: str, found: list[str] | None) -> None:
    ask.package = package

    if found is None:
        with pytest.raises(InputError, match="no target or file `data`"):
            ask(pattern)
    else:
        assert ask(pattern) == found


def test_a_star_selects_files_and_groups_too(ask: Asked) -> None:
    here = ask("//data:*")
    below = ask("//data/...:*")
    others = ask("//data:all-targets")

    assert here == below == others == ask("siblings(//data:raw)")


def test_what_only_the_caller_knows_is_asked(ask: Asked) -> None:
    about: list[tuple[str, ...]] = []

    def stale(labels: tuple[str, ...]) -> Iterable[str]:
        about.append(labels)
        return ["//models:net", "//models:gone", "//data:raw"]

    ask.affected = lambda revision: ["//models:net", f"//none:{revision}"]
    ask.stale = stale
    ask.cached = lambda _: ["//data:raw"]

    assert ask("affected(main)") == ["//models:net"]
    assert ask("stale()") == ["//data:raw", "//models:net"]
    assert ask("stale(deps(//models:net) - //data:raw)") == ["//models:net"]
    assert ask("cached") == ["//data:raw"]
    assert about == [(), ("//models:net",)]


def test_a_cycle_ends(tmp_path: Path) -> None:
    ask = Asked(tmp_path / "w").file(
        "loop/BUILD.ml",
        'filegroup(name = "a", srcs = [":b"])\nfilegroup(name = "b", srcs = [":a"])\n',
    )

    assert ask("deps(//loop:a)") == ["//loop:a", "//loop:b"]
    assert ask("rdeps(//loop:a, //loop:a)") == ["//loop:a", "//loop:b"]
    assert ask("deps(//loop:a)", order="full") == ["//loop:a", "//loop:b"]
    assert ask.shown("//loop:all", output="maxrank") == ["0 //loop:a", "0 //loop:b"]
    assert ask.shown("//loop:all", output="tree") == [
        "//loop:a",
        "└── //loop:b",
        "    └── //loop:a (see above)",
    ]
