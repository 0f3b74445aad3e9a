"""Paths: what can be reached from where in the query graph, and in which order."""

from collections.abc import Callable, Iterable, Mapping, Sequence

Labels = dict[str, None]  # a set that remembers in which order its members came
Below = Callable[[str], Sequence[str]]


def closure(starts: Iterable[str], below: Below, *, depth: int | None = None) -> Labels:
    """Return `starts` and all that can be reached from them in at most `depth` steps."""
    found = dict.fromkeys(starts)
    frontier = list(found)
    while frontier and (depth is None or depth > 0):
        fresh: list[str] = []
        for label in frontier:
            for need in below(label):
                if need not in found:
                    found[need] = None
                    fresh.append(need)
        frontier = fresh
        depth = None if depth is None else depth - 1
    return found


def reverse(labels: Iterable[str], below: Below) -> dict[str, list[str]]:
    """Return who of `labels` names each of what they name."""
    found: dict[str, list[str]] = {}
    for label in labels:
        for need in below(label):
            found.setdefault(need, []).append(label)
    return found


def rdeps(universe: Iterable[str], targets: Labels, below: Below, depth: int | None) -> Labels:
    """Return those of `targets` that are in the closure of `universe`, and what reaches them."""
    inside = closure(universe, below)
    above = reverse(inside, below)
    starts = [label for label in targets if label in inside]
    return closure(starts, lambda label: above.get(label, ()), depth=depth)


def all_paths(starts: Labels, ends: Labels, below: Below) -> Labels:
    """Return everything on any path from `starts` to `ends`."""
    return rdeps(starts, ends, below, None)


def some_path(starts: Iterable[str], ends: Labels, below: Below) -> Labels:
    """Return a shortest path from `starts` to `ends`, in its order; nothing where there is none.

    Of several, the first by where it begins, then by what each names first.
    """
    came: dict[str, str] = dict.fromkeys(starts, "")
    frontier = list(came)
    while frontier:
        fresh: list[str] = []
        for label in frontier:
            if label in ends:
                return _back(label, came)
        for label in frontier:
            for need in below(label):
                if need not in came:
                    came[need] = label
                    fresh.append(need)
        frontier = fresh
    return {}


def _back(label: str, came: Mapping[str, str]) -> Labels:
    path = [label]
    while came[path[-1]]:
        path.append(came[path[-1]])
    return dict.fromkeys(reversed(path))


def topological(labels: Iterable[str], below: Below) -> list[str]:
    """Return labels so that each stands before what it reaches.

    A search begins at each of `labels` in turn; this is the reverse of the order in which it leaves
    them.
    """
    wanted = dict.fromkeys(labels)
    seen: set[str] = set()
    finished: list[str] = []
    for root in wanted:
        if root in seen:
            continue
        seen.add(root)
        path = [(root, iter(below(root)))]
        while path:
            label, rest = path[-1]
            for need in rest:
                if need not in seen:
                    seen.add(need)
                    path.append((need, iter(below(need))))
                    break
            else:
                path.pop()
                finished.append(label)
    return [label for label in reversed(finished) if label in wanted]


def components(labels: Iterable[str], below: Below) -> list[list[str]]:
    """Return groups of labels that reach each other, each group after those that it reaches.

    `below` names labels of these only. Without cycles, each is alone.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    found: list[list[str]] = []
    for root in labels:
        if root in index:
            continue
        path = [(root, iter(below(root)))]
        index[root] = low[root] = len(index)
        stack.append(root)
        waiting.add(root)
        while path:
            label, rest = path[-1]
            for need in rest:
                if need not in index:
                    index[need] = low[need] = len(index)
                    stack.append(need)
                    waiting.add(need)
                    path.append((need, iter(below(need))))
                    break
                if need in waiting:
                    low[label] = min(low[label], index[need])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[label])
                if low[label] == index[label]:
                    group = [stack.pop()]
                    while group[-1] != label:
                        group.append(stack.pop())
                    waiting.difference_update(group)
                    found.append(group)
    return found


def ranks(labels: Sequence[str], below: Below, *, longest: bool) -> dict[str, int]:
    """Return how far each label is from those that no other names.

    It is the shortest way that counts, or the `longest`. Labels that reach each other have one
    rank. `below` names labels of these only.
    """
    groups = list(reversed(components(labels, below)))
    group_of = {label: number for number, group in enumerate(groups) for label in group}
    best: dict[int, int] = {}
    for number, group in enumerate(groups):
        rank = best.setdefault(number, 0)
        for need in {group_of[need] for label in group for need in below(label)} - {number}:
            known = best.get(need, rank + 1)
            best[need] = max(known, rank + 1) if longest else min(known, rank + 1)
    return {label: best[group_of[label]] for label in labels}
