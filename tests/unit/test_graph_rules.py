"""rule() and attr: what a .bzl file may say, what targets may give, and who is told of a fault."""

from pathlib import Path

import pytest

from tests.graphs import Graph

NOTHING = "def _impl(ctx):\n    return struct(files = [])\n"


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path / "w")


def with_rule(graph: Graph, bzl: str, call: str) -> Graph:
    graph.file("defs.bzl", NOTHING + bzl)
    return graph.file("BUILD.ml", f'load("//:defs.bzl", "r")\n{call}\n')


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("attr.string(default = 1)", "the default of attr.string must be a string, not 1"),
        ("attr.strin()", "attr has no `strin`"),
        ('attr.string(mandatory = True, default = "a")', "is mandatory or has a default"),
        ('attr.string(mandatory = "yes")', '`mandatory` is True or False, not "yes"'),
        ("attr.string(doc = 1)", "`doc` is a string, not 1"),
        ('attr.string(default = "c", values = ["a", "b"])', "is not among its `values`"),
        ("attr.int(values = [1, True])", "holds True, not an int"),
        ("attr.int(values = [])", "`values` is a list of what attr.int may be"),
        ("attr.bool(values = [True])", "attr.bool takes no `values`"),
        ('attr.label(default = select({":a": ":b"}))', "cannot be a select"),
        ('attr.string("a")', "`attr.string` takes no positional arguments"),
        ("attr.string(defualt = 1)", "`attr.string` has no parameter `defualt`"),
        ("1", "attribute `a` is not an attribute"),
    ],
)
def test_a_wrong_attribute_is_refused_where_it_is_made(
    graph: Graph, attribute: str, said: str
) -> None:
    with_rule(graph, f'r = rule(_impl, attrs = {{"a": {attribute}}})\n', 'r(name = "t")')

    error = graph.refused()

    assert said in error.message
    assert error.span is not None
    assert (error.span.path, error.span.line) == ("defs.bzl", 3)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("r = rule(1)\n", "the implementation of a rule is a function of ctx, not 1"),
        ("r = rule(_impl, attrs = [])\n", "`attrs` is a dict"),
        ("r = rule(_impl, doc = 1)\n", "`doc` is a string"),
        ('r = rule(_impl, attrs = {"tags": attr.string()})\n', "every rule has it"),
        ('r = rule(_impl, attrs = {"a-b": attr.string()})\n', "cannot be the name of an attribute"),
        ('r = rule(_impl, attrs = {"_a": attr.label(mandatory = True)})\n', "nobody can give it"),
        ("r = [rule(_impl)]\n", "is not assigned to a name"),
        ("def r(name):\n    rule(_impl)\n", "can only be called while a .bzl file is loaded"),
        ('filegroup(name = "x")\n', "rule `filegroup` can only be called while a BUILD.ml is read"),
        ('r = glob(["*"])\n', "glob can only be called while a BUILD.ml is read"),
    ],
)
def test_a_wrong_rule_is_refused_where_it_is_made(graph: Graph, made: str, said: str) -> None:
    with_rule(graph, made, 'r(name = "t")')

    error = graph.refused()

    assert said in error.message
    assert error.span is not None
    assert error.span.path == "defs.bzl"


def test_a_rule_is_not_made_in_a_build_file(graph: Graph) -> None:
    graph.file("BUILD.ml", "r = rule(len)\n")

    assert "can only be called while a .bzl file is loaded" in graph.refused().message


@pytest.mark.parametrize(
    ("call", "said", "place"),
    [
        ('r(name = "t", levle = 1)', "rule `r` has no attribute `levle`", "levle"),
        ('r(name = "t", level = "1")', "attribute `level` of `r` takes an int", "level"),
        ('r(name = "t", level = 3)', "attribute `level` of `r` cannot be 3", "level"),
        ('r(name = "t", rate = 0.3)', "attribute `rate` of `r` cannot be 0.3", "rate"),
        ('r(name = "t", mode = "fats")', "attribute `mode` of `r` cannot be", "mode"),
        ('r(name = "t", _hidden = "x")', "rule `r` has no attribute `_hidden`", "_hidden"),
        ('r(name = "a/../b")', "`a/../b` cannot be the name of a target", "name"),
        ('r(name = "t", tags = "x")', "attribute `tags` takes a list of strings", "tags"),
        ('r("t")', "rule `r` takes its attributes by name", 'r("t")'),
        ("r()", "rule `r` needs a `name`", "r()"),
    ],
)
def test_a_wrong_target_is_refused_at_the_attribute(
    graph: Graph, call: str, said: str, place: str
) -> None:
    with_rule(
        graph,
        'r = rule(_impl, attrs = {"level": attr.int(values = [0, 1, 2]), '
        '"rate": attr.float(values = [0, 0.5]), "mode": attr.string(values = ["", "fast"]), '
        '"_hidden": attr.string()})\n',
        call,
    )

    error = graph.refused()

    assert said in error.message
    assert graph.shown(error) == f"BUILD.ml:2: {place}"


def test_a_near_value_is_proposed(graph: Graph) -> None:
    with_rule(
        graph,
        'r = rule(_impl, attrs = {"mode": attr.string(values = ["slow", "fast"])})\n',
        'r(name = "t", mode = "fats")',
    )

    assert graph.refused().hints == ("did you mean `fast`?", 'it is one of "slow", "fast"')


def test_a_field_that_a_dependency_does_not_give_names_rule_target_and_field(graph: Graph) -> None:
    graph.file(
        "defs.bzl",
        "def _give(ctx):\n    return struct(files = [], modell = 1)\n"
        "def _take(ctx):\n    return struct(files = [], x = ctx.attr.dep.model)\n"
        "give = rule(_give)\n"
        'take = rule(_take, attrs = {"dep": attr.label()})\n',
    ).file(
        "BUILD.ml",
        'load("//:defs.bzl", "give", "take")\ngive(name = "prep")\n'
        'alias(name = "also", actual = ":prep")\ntake(name = "t", dep = ":also")\n',
    )

    error = graph.refused("//:t")

    assert error.message == "`//:prep`, a `give`, gives no `model`"
    assert error.hints == ("did you mean `modell`?",)
    assert graph.shown(error) == "defs.bzl:4: model"
    assert error.notes == ("in target `//:t`, declared at BUILD.ml:4:1",)


@pytest.mark.parametrize(
    ("expression", "said", "hint"),
    [
        ("ctx.attr.modle", "rule `r` has no attribute `modle`", "did you mean `model`?"),
        ("ctx.files.modle", "rule `r` has no attribute of labels `modle`", "there is: data"),
        ("ctx.atr", "ctx has no `atr`", "did you mean `attr`?"),
        ("ctx.wirte", "ctx has no `wirte`", "did you mean `write`?"),
    ],
)
def test_what_ctx_does_not_have_is_named(
    graph: Graph, expression: str, said: str, hint: str
) -> None:
    graph.file(
        "defs.bzl",
        f"def _impl(ctx):\n    return struct(files = [], x = {expression})\n"
        'r = rule(_impl, attrs = {"model": attr.string(), "data": attr.label_list()})\n',
    ).file("BUILD.ml", 'load("//:defs.bzl", "r")\nr(name = "t")\n')

    error = graph.refused()

    assert (error.message, error.hints) == (said, (hint,))


def test_what_a_dependency_gives_is_a_struct_like_any_other(graph: Graph) -> None:
    graph.file(
        "defs.bzl",
        'def _give(ctx):\n    return struct(files = [], a = 1, b = "x")\n'
        "def _take(ctx):\n    dep = ctx.attr.dep\n"
        '    ctx.write(ctx.file("o"), str((type(dep), dir(dep), hasattr(dep, "c"), '
        'getattr(dep, "c", 7), dep == dep, dep)))\n'
        "    return struct(files = [])\n"
        "give = rule(_give)\n"
        'take = rule(_take, attrs = {"dep": attr.label()})\n',
    ).file(
        "BUILD.ml",
        'load("//:defs.bzl", "give", "take")\ngive(name = "g")\ntake(name = "t", dep = ":g")\n',
    )

    (action,) = graph.plan("//:t").actions

    assert getattr(action.does, "content", "") == (
        '("struct", ["a", "b", "files"], False, 7, True, struct(files = [], a = 1, b = "x"))'
    )


def test_labels_of_a_default_are_seen_from_the_file_of_the_rule(graph: Graph) -> None:
    graph.file("tools/BUILD.ml").file("tools/a.py").file("tools/b.py")
    graph.file(
        "tools/defs.bzl",
        "def _impl(ctx):\n    return struct(files = ctx.files.srcs)\n"
        'r = rule(_impl, attrs = {"srcs": attr.label_list(default = [":a.py", "//tools:b.py"])})\n',
    )
    graph.file("models/BUILD.ml", 'load("//tools:defs.bzl", "r")\nr(name = "t")\n')

    outputs = graph.plan("//models:t").targets["//models:t"].outputs

    assert outputs == ("tools/a.py", "tools/b.py")
    assert graph.targets("//models:t")["//models:t"].given == ()


def test_a_load_cycle_is_shown_as_a_path(graph: Graph) -> None:
    graph.file("a.bzl", 'load("//:b.bzl", "x")\ny = 1\n').file(
        "b.bzl", 'load("//:a.bzl", "y")\nx = 1\n'
    )
    graph.file("BUILD.ml", 'load("//:a.bzl", "y")\n')

    assert graph.refused().message == "load cycle: a.bzl → b.bzl → a.bzl"
