"""A plan that is patched after an edit equals the one that is read anew."""

import random
from pathlib import Path

import pytest

from mlbuild.config import load
from mlbuild.plans import Planned
from mlbuild.reading import Reading
from mlbuild.workspace import Workspace
from tests.graphs import Graph

PACKAGES = 5
TARGETS = 4


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path)


def reading(graph: Graph) -> Reading:
    workspace = Workspace(str(graph.root))
    environ = {"HOME": str(graph.root), "MLBUILD_CACHE_DIR": f"{graph.root}-cache"}
    return Reading(workspace, load(workspace.root, environ=environ, flags={}), say=print)


def planned(graph: Graph) -> Planned:
    return reading(graph).plan(("//...",), "")


def target(package: int, number: int, chance: random.Random) -> str:
    """Return a genrule, a filegroup or an alias that reads files and targets before it."""
    below = [
        *(f"//p{at}:t{n}" for at in range(package) for n in range(TARGETS)),
        *(f":t{n}" for n in range(number)),
    ]
    deps = chance.sample(below, min(len(below), chance.randrange(3)))
    sources = [*deps, *chance.sample(["a.txt", "b.txt"], chance.randrange(3))]
    shown = ", ".join(f'"{one}"' for one in sources)
    kind = chance.randrange(5)
    if kind == 0:
        return f'filegroup(name = "t{number}", srcs = [{shown}])\n'
    if kind == 1 and deps:
        return f'alias(name = "t{number}", actual = "{deps[0]}")\n'
    words = chance.choice(["cat", "sort", "wc"])
    outs = chance.choice([f"t{number}.txt", f"u{number}.txt"])
    seen = chance.choice(["", ', visibility = ["//visibility:public"]', ', tags = ["x"]'])
    return (
        f'genrule(name = "t{number}", srcs = [{shown}], outs = ["{outs}"], '
        f'cmd = "{words} $(SRCS) /dev/null > $@"{seen})\n'
    )


def write(graph: Graph, package: int, chance: random.Random) -> None:
    text = "".join(target(package, number, chance) for number in range(TARGETS))
    graph.file(f"p{package}/BUILD.ml", text)


def edit(graph: Graph, package: int, chance: random.Random) -> None:
    """Write one of the targets of a package anew."""
    place = graph.root / f"p{package}/BUILD.ml"
    lines = place.read_text().splitlines(keepends=True)
    number = chance.randrange(len(lines))
    lines[number] = target(package, number, chance)
    place.write_text("".join(lines))


@pytest.mark.parametrize("seed", range(12))
def test_a_patched_plan_is_the_plan_that_is_read_anew(graph: Graph, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a graph, not a secret
    for package in range(PACKAGES):
        graph.file(f"p{package}/a.txt").file(f"p{package}/b.txt")
        write(graph, package, chance)
    kept = planned(graph)
    patched = 0
    for _ in range(15):
        package = chance.randrange(PACKAGES)
        edit(graph, package, chance)

        found = reading(graph).patched(kept, [str(graph.root / f"p{package}/BUILD.ml")])

        fresh = planned(graph)
        if found is not None:
            patched += 1
            assert found.plan.requested == fresh.plan.requested
            assert found.plan.targets == fresh.plan.targets
            assert found.plan.sources == fresh.plan.sources
            by_id = {action.id: action for action in fresh.plan.actions}
            assert {action.id: action for action in found.plan.actions} == by_id
            made: set[str] = set()
            for action in found.plan.actions:  # each after those that make its inputs
                assert not {one for one in action.inputs if one.startswith("mlbuild-out/")} - made
                made |= {action.artifact(output.path) for output in action.outputs}
            assert set(fresh.files) <= set(found.files)
            assert set(fresh.folders) <= set(found.folders)
        kept = found or fresh
    assert patched > 0


CHAIN = 'genrule(name = "{0}", srcs = ["{1}"], outs = ["{0}.txt"], cmd = "{2} $< > $@")\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a renamed output", CHAIN.format("a", "in.txt", "cat").replace("a.txt", "b.txt")),
        ("a further target", CHAIN.format("a", "in.txt", "cat") + 'filegroup(name = "more")\n'),
        (
            "a target that others may not see any more",
            CHAIN.format("a", "in.txt", "cat").replace(
                ")\n", ', visibility = ["//visibility:private"])\n'
            ),
        ),
        ("a dependency that stood behind", CHAIN.format("a", "//two:b", "cat")),
        ("a new source", 'filegroup(name = "a", srcs = ["in.txt"])\n'),
    ],
)
def test_an_edit_that_others_see_is_not_patched(graph: Graph, name: str, text: str) -> None:
    graph.file("one/in.txt").file("one/BUILD.ml", CHAIN.format("a", "in.txt", "cat"))
    graph.file("two/BUILD.ml", CHAIN.format("b", "//one:a", "cat"))
    kept = planned(graph)

    graph.file("one/BUILD.ml", text)

    assert reading(graph).patched(kept, [str(graph.root / "one/BUILD.ml")]) is None, name


def test_an_edit_of_a_command_is_patched_without_reading_the_rest(graph: Graph) -> None:
    graph.file("one/in.txt").file("one/BUILD.ml", CHAIN.format("a", "in.txt", "cat"))
    graph.file("two/BUILD.ml", CHAIN.format("b", "//one:a", "cat"))
    graph.file("three/BUILD.ml", CHAIN.format("c", "//two:b", "cat"))
    kept = planned(graph)
    graph.file("two/BUILD.ml", CHAIN.format("b", "//one:a", "sort"))
    graph.file("three/BUILD.ml", "this is no BUILD file")

    found = reading(graph).patched(kept, [str(graph.root / "two/BUILD.ml")])

    assert found is not None
    (action,) = [one for one in found.plan.actions if one.id == "//two:b"]
    assert "sort" in str(action)


def test_an_edit_of_a_loaded_file_is_not_patched(graph: Graph) -> None:
    graph.file("defs.bzl", 'CMD = "cat"\n').file("BUILD.ml", "")
    graph.file("one/in.txt").file(
        "one/BUILD.ml", 'load("//:defs.bzl", "CMD")\n' + CHAIN.format("a", "in.txt", "cat")
    )
    kept = planned(graph)

    assert reading(graph).patched(kept, [str(graph.root / "defs.bzl")]) is None
