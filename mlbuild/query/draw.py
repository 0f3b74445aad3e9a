"""Draw: the labels that a query found, and who names whom, as trees and graphs."""

from collections.abc import Mapping, Sequence

from mlbuild.query.paths import components

Below = Mapping[str, Sequence[str]]  # of each label, those among them that it names


def dot(labels: Sequence[str], below: Below) -> list[str]:
    """Return a graph as Graphviz reads it."""
    lines = ["digraph mlbuild {", "  node [shape=box];"]
    lines += [f"  {_dotted(label)}" for label in labels]
    lines += [f"  {_dotted(label)} -> {_dotted(need)}" for label in labels for need in below[label]]
    return [*lines, "}"]


def mermaid(labels: Sequence[str], below: Below) -> list[str]:
    """Return a graph as Mermaid reads it, which code hosts draw in Markdown."""
    number = {label: f"n{index}" for index, label in enumerate(labels)}
    lines = ["graph TD"]
    lines += [f'  {number[label]}["{_entities(label)}"]' for label in labels]
    lines += [f"  {number[label]} --> {number[need]}" for label in labels for need in below[label]]
    return lines


def tree(labels: Sequence[str], below: Below) -> list[str]:
    """Return a tree for each label that no other names; what is shown already is not opened again.

    Of labels that all name each other, the first stands at the root.
    """
    lines: list[str] = []
    opened: set[str] = set()
    for root in _roots(labels, below):
        pending = [(root, "", "")]
        while pending:
            label, before, inner = pending.pop()
            again = label in opened and bool(below[label])
            lines.append(f"{before}{label}{' (see above)' if again else ''}")
            if again:
                continue
            opened.add(label)
            needs = below[label]
            pending += [
                (need, inner + ("└── " if last else "├── "), inner + ("    " if last else "│   "))
                for index, need in reversed(list(enumerate(needs)))
                for last in [index == len(needs) - 1]
            ]
    return lines


def _roots(labels: Sequence[str], below: Below) -> list[str]:
    """Return one label of each group that nothing outside of it names."""
    groups = components(labels, lambda label: below[label])
    position = {label: index for index, label in enumerate(labels)}
    group_of = {label: number for number, group in enumerate(groups) for label in group}
    named = {
        group_of[need]
        for label in labels
        for need in below[label]
        if group_of[need] != group_of[label]
    }
    roots = [min(one, key=position.__getitem__) for at, one in enumerate(groups) if at not in named]
    return sorted(roots, key=position.__getitem__)


def _dotted(label: str) -> str:
    text = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _entities(label: str) -> str:
    return label.replace("#", "#35;").replace('"', "#quot;").replace("\n", "#10;")
