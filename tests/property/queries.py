"""Random graphs and random queries, and a slow evaluator that knows them by their definitions."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Tree = tuple[Any, ...]  # ("word", label), ("deps", tree, depth), …


@dataclass(frozen=True)
class Node:
    """A label of a graph."""

    kind: str
    below: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Labels, and the BUILD.ml files that declare them."""

    nodes: dict[str, Node]
    files: dict[str, str] = field(repr=False)

    def reach(self, starts: Iterable[str], *, steps: int | None = None) -> set[str]:
        """Return what can be reached, by adding what is one step away until nothing is new."""
        found = set(starts)
        while steps is None or steps > 0:
            more = {need for label in found for need in self.nodes[label].below} - found
            if not more:
                break
            found |= more
            steps = None if steps is None else steps - 1
        return found

    def distance(self, start: str, end: str) -> int | None:
        """Return the number of steps from one label to another, None where there is no way."""
        for steps in range(len(self.nodes) + 1):
            if end in self.reach([start], steps=steps):
                return steps
        return None


def package_of(label: str) -> str:
    return label[2:].partition(":")[0]


@st.composite
def graphs(draw: st.DrawFn, *, cycles: bool = True) -> Graph:
    """Return a graph of filegroups, genrules with outputs and sources in three packages."""
    packages = ["", "a", "a/b"]
    nodes: dict[str, Node] = {}
    files: dict[str, list[str]] = {f"{one}/BUILD.ml".lstrip("/"): [] for one in packages}
    for package in packages:
        nodes[f"//{package}:BUILD.ml"] = Node("source file")
    sources = [f"//{draw(st.sampled_from(packages))}:f{n}" for n in range(draw(st.integers(0, 4)))]
    homes = [draw(st.sampled_from(packages)) for _ in range(draw(st.integers(1, 8)))]
    rules = [f"//{home}:t{number}" for number, home in enumerate(homes)]
    makes = {label: f"{label}.out" for label in rules if draw(st.integers(0, 3)) == 0}
    for number, label in enumerate(rules):
        others = [one for one in (rules if cycles else rules[:number]) if one != label]
        named = [*sources, *others, *(makes[one] for one in others if one in makes)]
        below = draw(st.lists(st.sampled_from(named), unique=True, max_size=3)) if named else []
        tags = draw(st.lists(st.sampled_from(["red", "blue"]), unique=True))
        rule = "genrule" if label in makes else "filegroup"
        nodes[label] = Node(f"{rule} rule", tuple(below), tuple(tags))
        more = ""
        if label in makes:
            nodes[makes[label]] = Node("generated file", (label,))
            more = f', outs = ["{makes[label].partition(":")[2]}"], cmd = "true"'
        file = f"{package_of(label)}/BUILD.ml".lstrip("/")
        name = label.partition(":")[2]
        files[file].append(f'{rule}(name = "{name}", srcs = {below}, tags = {tags}{more})\n')
    for label in {one for node in nodes.values() for one in node.below} & set(sources):
        nodes[label] = Node("source file")
        files[f"{package_of(label)}/{label.partition(':')[2]}".lstrip("/")] = []
    return Graph(nodes, {path: "".join(lines) for path, lines in files.items()})


def trees(graph: Graph) -> st.SearchStrategy[Tree]:
    """Return queries about `graph`."""
    labels = sorted(graph.nodes)
    patterns = ["//...", "//:all", "//a/...", "//a:all", "//a/b:*", "//...:*"]
    words = st.sampled_from([*labels, *patterns]).map(lambda word: ("word", word))
    numbers = st.integers(0, 3)
    kinds = st.sampled_from(["rule", "source file", "generated", "^genrule", "."])
    regexes = st.sampled_from(["t[0-3]$", "//a", "out", ":", "a/b"])
    tags = st.sampled_from(["red", r"[\[ ]blue[,\]]", r"^\[\]$"])

    def larger(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        sides = st.lists(
            st.tuples(st.sampled_from(list(_OPERATORS)), inner), min_size=1, max_size=3
        )
        one = ["deps", "allrdeps", "siblings", "same_pkg_direct_rdeps", "buildfiles", "inputs"]
        return st.one_of(
            st.tuples(st.just("chain"), inner, sides),
            st.tuples(st.sampled_from(one), inner),
            st.tuples(st.sampled_from(["deps", "allrdeps", "some"]), inner, numbers),
            st.tuples(st.sampled_from(["rdeps", "allpaths"]), inner, inner),
            st.tuples(st.just("rdeps"), inner, inner, numbers),
            st.tuples(st.just("kind"), kinds, inner),
            st.tuples(st.just("filter"), regexes, inner),
            st.tuples(st.just("attr"), tags, inner),
            st.tuples(st.just("labels"), inner),
            st.tuples(st.just("set"), st.lists(st.sampled_from(labels), max_size=3)),
            st.tuples(st.just("let"), inner, inner, st.sampled_from(list(_OPERATORS))),
        )

    return st.recursive(words, larger, max_leaves=6)


_OPERATORS: dict[str, Callable[[set[str], set[str]], set[str]]] = {
    "+": set.union,
    "union": set.union,
    "^": set.intersection,
    "intersect": set.intersection,
    "-": set.difference,
    "except": set.difference,
}


def text_of(tree: Tree) -> str:
    """Return a query as it is written; sides that are chains or lets stand in parentheses."""
    match tree:
        case ("word", word):
            return f'"{word}"'
        case ("chain", first, rest):
            sides = "".join(f" {operator} {_side(side)}" for operator, side in rest)
            return f"{_side(first)}{sides}"
        case ("kind" | "filter" as name, regex, inner):
            return f"{name}('{regex}', {text_of(inner)})"
        case ("attr", regex, inner):
            return f"attr(tags, '{regex}', {text_of(inner)})"
        case ("labels", inner):
            return f"labels(srcs, {text_of(inner)})"
        case ("set", words):
            return f"set({' '.join(words)})"
        case ("let", value, body, operator):
            return f"let x = {text_of(value)} in {_side(body)} {operator} $x"
        case (name, *given):
            return f"{name}({', '.join(map(_given, given))})"
    raise AssertionError(tree)


def _given(one: Any) -> str:
    return str(one) if isinstance(one, int) else text_of(one)


def _side(tree: Tree) -> str:
    text = text_of(tree)
    return f"({text})" if tree[0] in {"chain", "let"} else text


class Empty(Exception):  # noqa: N818 - an answer, as the query gives it
    """`some` has nothing to choose from."""


def answer(tree: Tree, graph: Graph) -> set[str]:
    """Return what a query stands for, by the definition of each of its parts."""
    nodes = graph.nodes

    def of(inner: Tree) -> set[str]:
        return answer(inner, graph)

    def rdeps(inside: set[str], ends: set[str], steps: int | None) -> set[str]:
        part = Graph({one: Node("", _within(nodes[one].below, inside)) for one in inside}, {})
        return {one for one in inside if part.reach([one], steps=steps) & ends & inside}

    match tree:
        case ("word", word):
            return matching(word, graph)
        case ("chain", first, rest):
            found = of(first)
            for operator, side in rest:
                found = _OPERATORS[operator](found, of(side))
            return found
        case ("deps", inner, *steps):
            return graph.reach(of(inner), steps=steps[0] if steps else None)
        case ("allrdeps", inner, *steps):
            universe = graph.reach(matching("//...", graph))
            return rdeps(universe, of(inner), steps[0] if steps else None)
        case ("rdeps", universe, inner, *steps):
            return rdeps(graph.reach(of(universe)), of(inner), steps[0] if steps else None)
        case ("allpaths", starts, ends):
            wanted = of(ends)
            return {one for one in graph.reach(of(starts)) if graph.reach([one]) & wanted}
        case ("some", inner, count):
            found = of(inner)
            if not found:
                raise Empty
            return set(sorted(found, key=lambda one: one.partition(":"))[:count])
        case ("kind", regex, inner):
            return {one for one in of(inner) if re.search(regex, nodes[one].kind)}
        case ("filter", regex, inner):
            return {one for one in of(inner) if re.search(regex, one)}
        case ("attr", regex, inner):
            return {
                one
                for one in of(inner)
                if nodes[one].kind.endswith("rule")
                and re.search(regex, f"[{', '.join(nodes[one].tags)}]")
            }
        case ("labels", inner):
            rules = [one for one in of(inner) if nodes[one].kind.endswith("rule")]
            return {need for one in rules for need in nodes[one].below}
        case ("inputs", inner):
            found = graph.reach(of(inner))
            return {one for one in found if nodes[one].kind == "source file"}
        case ("siblings", inner):
            packages = {package_of(one) for one in of(inner)}
            return {one for package in packages for one in members(package, graph)}
        case ("same_pkg_direct_rdeps", inner):
            found = of(inner)
            return {
                one
                for one in nodes
                for need in nodes[one].below
                if need in found and package_of(one) == package_of(need)
            }
        case ("buildfiles", inner):
            return {f"//{package_of(one)}:BUILD.ml" for one in of(inner)}
        case ("set", words):
            return set(words)
        case ("let", value, body, operator):
            return _OPERATORS[operator](of(body), of(value))
    raise AssertionError(tree)


def matching(word: str, graph: Graph) -> set[str]:
    """Return what a pattern selects."""
    folder = word[2:].partition("...")[0].rstrip("/")
    inside = {
        one
        for one in graph.nodes
        if "..." in word and (not folder or f"{package_of(one)}/".startswith(f"{folder}/"))
    }
    match word.rpartition(":")[2]:
        case "*":
            packages = {package_of(one) for one in inside} or {package_of(word)}
            return {one for package in packages for one in members(package, graph)}
        case "all":
            inside = {one for one in graph.nodes if package_of(one) == package_of(word)}
        case _ if not inside:
            return {word}
    return {one for one in inside if graph.nodes[one].kind.endswith("rule")}


def members(package: str, graph: Graph) -> set[str]:
    """Return all of a package: sources only where a target of the package names them."""
    here = {one for one in graph.nodes if package_of(one) == package}
    named = {need for one in here for need in graph.nodes[one].below}
    sources = {one for one in here if graph.nodes[one].kind == "source file"}
    return (here - sources) | (sources & named) | {f"//{package}:BUILD.ml"}


def _within(labels: Iterable[str], inside: set[str]) -> tuple[str, ...]:
    return tuple(one for one in labels if one in inside)
