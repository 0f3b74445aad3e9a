"""select: values that depend on flags, and what is said where they cannot."""

import marshal
from pathlib import Path

import pytest

from mlbuild.core.action import Run
from mlbuild.core.plan import Plan
from mlbuild.graph.select import Choice, Select, select_of
from tests.graphs import Graph

CONDITIONS = """
config_setting(name = "gpu", values = {"device": "cuda"})
config_setting(name = "big", values = {"device": "cuda", "size": "big"})
config_setting(name = "fast", values = {"mode": "fast"})
config_setting(name = "debug", values = {"debug": "true"})
"""


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path / "w").file("config/BUILD.ml", CONDITIONS)


def command(plan: Plan) -> str:
    """Return the shell text of the only action."""
    (action,) = plan.actions
    assert isinstance(action.does, Run)
    return "".join(part for part in action.does.argv[-1] if isinstance(part, str))


def rule_with(cmd: str) -> str:
    return f'genrule(name = "t", outs = ["o"], cmd = {cmd})\n'


def test_the_branch_whose_condition_holds_is_taken(graph: Graph) -> None:
    graph.file(
        "BUILD.ml",
        rule_with('select({"//config:gpu": "gpu", "//conditions:default": "cpu"}) + " $@"'),
    )

    found = [
        command(graph.plan("//:t", flags=flags))
        for flags in ({}, {"device": "cuda"}, {"device": "tpu"})
    ]

    assert found == ["cpu ", "gpu ", "cpu "]


def test_a_condition_that_asks_for_more_wins(graph: Graph) -> None:
    graph.file(
        "BUILD.ml", rule_with('select({"//config:gpu": "gpu $@", "//config:big": "big $@"})')
    )

    assert command(graph.plan("//:t", flags={"device": "cuda", "size": "big"})) == "big "
    assert command(graph.plan("//:t", flags={"device": "cuda"})) == "gpu "


def test_conditions_that_hold_together_without_order_are_an_error(graph: Graph) -> None:
    graph.file("BUILD.ml", rule_with('select({"//config:gpu": "a", "//config:fast": "b"})'))

    error = graph.refused("//:t", flags={"device": "cuda", "mode": "fast"})

    assert error.message == (
        "the select for attribute `cmd` of `//:t` is ambiguous: "
        "`//config:gpu` and `//config:fast` hold, and neither refines the other"
    )
    assert graph.shown(error) == "BUILD.ml:1: cmd"
    assert error.notes[0] == "`//config:gpu` asks for device = cuda; device is cuda"


def test_branches_of_equal_value_are_never_ambiguous(graph: Graph) -> None:
    graph.file("BUILD.ml", rule_with('select({"//config:gpu": "a $@", "//config:fast": "a $@"})'))

    assert command(graph.plan("//:t", flags={"device": "cuda", "mode": "fast"})) == "a "


def test_no_branch_is_an_error_with_the_flags_as_they_are(graph: Graph) -> None:
    graph.file("BUILD.ml", rule_with('select({"//config:gpu": "a", "//config:debug": "b"})'))

    error = graph.refused("//:t", flags={"device": "tpu"})

    assert "none of its conditions holds" in error.message
    assert error.notes == (
        "`//config:gpu` asks for device = cuda; device is tpu",
        "`//config:debug` asks for debug = true; debug is not set",
    )
    assert any("--config" in hint for hint in error.hints)


def test_no_branch_is_explained_in_the_words_of_its_author(graph: Graph) -> None:
    graph.file(
        "BUILD.ml", rule_with('select({"//config:gpu": "a"}, no_match_error = "needs a GPU")')
    )

    assert graph.refused("//:t").hints == ("needs a GPU",)


def test_labels_of_the_branch_alone_are_needed(graph: Graph) -> None:
    graph.file("a.txt").file("b.txt").file(
        "BUILD.ml",
        'filegroup(name = "a", srcs = ["a.txt"])\n'
        'filegroup(name = "b", srcs = ["b.txt"])\n'
        'filegroup(name = "t", srcs = [":a"] + select({"//config:gpu": [":b"], '
        '"//conditions:default": []}))\n',
    )

    plain, gpu = graph.plan("//:t"), graph.plan("//:t", flags={"device": "cuda"})

    assert plain.targets["//:t"].outputs == ("a.txt",)
    assert gpu.targets["//:t"].outputs == ("a.txt", "b.txt")
    assert "//:b" not in plain.targets


def test_dicts_are_joined_and_none_is_the_default(graph: Graph) -> None:
    graph.file(
        "defs.bzl",
        "def _impl(ctx):\n"
        '    ctx.write(ctx.file("o"), str((ctx.attr.env, ctx.attr.rate)))\n'
        "    return struct(files = [])\n"
        "r = rule(_impl, attrs = {\n"
        '    "env": attr.string_dict(),\n'
        '    "rate": attr.float(default = 0.5),\n'
        "})\n",
    ).file(
        "BUILD.ml",
        'load("//:defs.bzl", "r")\n'
        'r(name = "t", env = {"A": "1"} | select({"//config:gpu": {"B": "2"}, '
        '"//conditions:default": {}}), '
        'rate = select({"//config:gpu": 2, "//conditions:default": None}))\n',
    )

    def written(**flags: str) -> str:
        (action,) = graph.plan("//:t", flags=flags).actions
        return str(getattr(action.does, "content", ""))

    assert written() == '({"A": "1"}, 0.5)'
    assert written(device="cuda") == '({"A": "1", "B": "2"}, 2.0)'


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('cmd = "x" if select({"//config:gpu": 1}) else "y"', "has no truth value"),
        ('cmd = "x" if select({"//config:gpu": "a"}) == "a" else "y"', "cannot be compared"),
        ('cmd = "x" if "a" != select({"//config:gpu": "a"}) else "y"', "cannot be compared"),
        (
            'cmd = "x" if select({"//config:gpu": 1}) == select({"//config:gpu": 1}) else "y"',
            "compared",
        ),
        ('cmd = str(len(select({"//config:gpu": "a"})))', "has no length"),
        ('cmd = "".join([x for x in select({"//config:gpu": "a"})])', "cannot be iterated over"),
        ('cmd = "x" in select({"//config:gpu": "a"})', "cannot be looked into"),
        ('cmd = select({"//config:gpu": "a"})[0]', "has no `[…]`"),
        ('cmd = select({"//config:gpu": "a"}) + ["b"]', "cannot join a string with a list"),
        ('cmd = select({"//config:gpu": 1}) + 2', "cannot join an int with a select"),
        ('env = select({"//config:gpu": {}}) + {}', "cannot join a dict with a select"),
        ('env = select({"//config:gpu": {}}) | "x"', "cannot join a string with a select"),
        ('cmd = select({"//config:gpu": select({"//config:big": "a"})})', "cannot hold a select"),
        ("cmd = select({})", "takes a dict of conditions"),
        ("cmd = select([1])", "takes a dict of conditions"),
        ('cmd = select({1: "a"})', "a condition is the label of a target, not 1"),
        ('name = select({"//config:gpu": "a"})', "attribute `name` cannot be a select"),
        ('tags = select({"//config:gpu": []})', "attribute `tags` cannot be a select"),
        ('visibility = select({"//config:gpu": []})', "attribute `visibility` cannot be a select"),
        ('outs = select({"//config:gpu": []})', "attribute `outs` of `genrule` cannot be a select"),
        ('srcs = [select({"//config:gpu": "a"})]', "takes a list of labels, not [select("),
        ('srcs = select({"//config:gpu": "a"})', 'takes a list of labels, not "a" of type string'),
        ('network = select({"//config:gpu": "a"}) + "b"', "selects are not joined there with `+`"),
        ('outs = select({"//config:gpu": None})', "cannot be a select"),
    ],
)
def test_a_select_that_cannot_be_is_refused_where_it_stands(
    graph: Graph, call: str, said: str
) -> None:
    start = 'genrule(outs = ["o"]' if not call.startswith("outs") else 'genrule(cmd = "x"'
    name = "" if call.startswith("name") else ', name = "t"'
    graph.file("BUILD.ml", f"{start}{name}, {call})\n")

    error = graph.refused()

    assert said in error.message
    assert error.span is not None


def test_a_wrong_branch_points_at_the_attribute(graph: Graph) -> None:
    graph.file(
        "BUILD.ml",
        'genrule(\n    name = "t",\n    outs = ["o"],\n    cmd = "x",\n'
        '    network = select({"//config:gpu": "yes", "//conditions:default": False}),\n)\n',
    )

    error = graph.refused()

    assert error.message == (
        'attribute `network` of `genrule` takes a bool, not "yes" of type string'
    )
    assert graph.shown(error) == "BUILD.ml:5: network"


def test_a_mandatory_attribute_is_given_in_every_branch(graph: Graph) -> None:
    graph.file(
        "BUILD.ml",
        'alias(name = "t", actual = select({"//config:gpu": ":x", "//config:big": None}))',
    )

    assert "a branch of the select is None" in graph.refused().message


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("//config:gup", "no target or file `gup`"),
        ("//config:BUILD.ml", "it is a file"),
        (":plain", "it is a target of rule `genrule`"),
        (":other", "it is a target that depends on others"),
    ],
)
def test_only_a_condition_can_be_a_condition(graph: Graph, condition: str, said: str) -> None:
    graph.file(
        "BUILD.ml",
        'genrule(name = "plain", outs = ["p"], cmd = "x > $@")\n'
        'alias(name = "other", actual = ":plain")\n'
        f'genrule(name = "t", outs = ["o"], cmd = select({{"{condition}": "x"}}))\n',
    )

    error = graph.refused("//:t")

    assert said in error.message
    assert graph.shown(error) == f"BUILD.ml:3: {condition}"


def test_any_rule_that_gives_condition_makes_conditions(graph: Graph) -> None:
    graph.file(
        "defs.bzl",
        'def _impl(ctx):\n    return struct(files = [], condition = {"device": ctx.attr.is_})\n'
        'device = rule(_impl, attrs = {"is_": attr.string()})\n',
    ).file(
        "BUILD.ml",
        'load("//:defs.bzl", "device")\ndevice(name = "tpu", is_ = "tpu")\n'
        + rule_with('select({":tpu": "tpu $@", "//conditions:default": "x $@"})'),
    )

    assert command(graph.plan("//:t", flags={"device": "tpu"})) == "tpu "


def test_a_select_in_a_list_that_grows(graph: Graph) -> None:
    graph.file("a.txt").file("b.txt").file(
        "defs.bzl",
        "def group(name, srcs = []):\n"
        "    srcs = list(srcs)\n"
        '    srcs += select({"//config:gpu": ["a.txt"], "//conditions:default": []})\n'
        '    filegroup(name = name, srcs = srcs + ["b.txt"])\n',
    ).file("BUILD.ml", 'load("//:defs.bzl", "group")\ngroup(name = "t")\n')

    plan = graph.plan("//:t", flags={"device": "cuda"})

    assert plan.targets["//:t"].outputs == ("a.txt", "b.txt")


def test_a_select_is_printed_as_it_is_written(graph: Graph) -> None:
    graph.file("BUILD.ml", 'fail(["a"] + select({":x": ["b"]}, no_match_error = "no"))\n')

    assert graph.refused().message == '["a"] + select({":x": ["b"]}, no_match_error = "no")'


def test_a_select_survives_being_kept() -> None:
    select = Select((["a"], Choice(((":x", ["b"]), (":y", None)), "no")), "+")

    kept = marshal.loads(marshal.dumps(select.plain()))  # noqa: S302 - our own

    assert select_of(kept) == select
    assert repr(select_of(kept)) == repr(select)
