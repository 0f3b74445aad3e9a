"""Queries of random graphs give what a slow evaluator gives, which follows the definitions."""

from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlbuild.errors import InputError
from tests.asked import Asked
from tests.property.queries import Empty, Graph, answer, graphs, text_of, trees

FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
_NUMBERS = count()


def workspace(graph: Graph, folder: Path) -> Asked:
    asked = Asked(folder / str(next(_NUMBERS)) / "w")
    for path, text in graph.files.items():
        asked.file(path, text)
    return asked


@FEW
@given(data=st.data())
def test_queries_mean_what_their_definitions_say(data: st.DataObject, tmp_path: Path) -> None:
    graph = data.draw(graphs())
    ask = workspace(graph, tmp_path)

    for tree in data.draw(st.lists(trees(graph), min_size=1, max_size=10)):
        try:
            wanted = sorted(answer(tree, graph), key=lambda one: one.partition(":"))
        except Empty:
            with pytest.raises(InputError, match="nothing to choose from"):
                ask(text_of(tree))
            continue
        assert ask(text_of(tree)) == wanted, text_of(tree)


@FEW
@given(data=st.data())
def test_some_path_is_a_shortest_one(data: st.DataObject, tmp_path: Path) -> None:
    graph = data.draw(graphs())
    ask = workspace(graph, tmp_path)
    some = st.lists(st.sampled_from(sorted(graph.nodes)), min_size=1, max_size=3)
    starts, ends = data.draw(some), data.draw(some)

    path = ask(f"somepath(set({' '.join(starts)}), set({' '.join(ends)}))")

    steps = [graph.distance(start, end) for start in starts for end in ends]
    known = [one for one in steps if one is not None]
    assert len(path) == (min(known) + 1 if known else 0)
    assert not path or (path[0] in starts and path[-1] in ends)
    assert all(below in graph.nodes[above].below for above, below in pairwise(path))


@FEW
@given(data=st.data())
def test_orders_and_ranks_follow_the_graph(data: st.DataObject, tmp_path: Path) -> None:
    graph = data.draw(graphs(cycles=False))
    ask = workspace(graph, tmp_path)
    chosen = data.draw(st.lists(st.sampled_from(sorted(graph.nodes)), min_size=1, unique=True))
    query = f"set({' '.join(chosen)})"

    for order in ("deps", "full"):
        found = ask(query, order=order)
        assert sorted(found) == sorted(chosen)
        for index, label in enumerate(found):
            assert not graph.reach([label]) & set(found[:index])
    for output, of_ways in (("minrank", min), ("maxrank", max)):
        lines = ask.shown(query, output=output)
        ranks = {line.partition(" ")[2]: int(line.partition(" ")[0]) for line in lines}
        assert ranks == {label: of_ways(_ways(label, chosen, graph)) for label in chosen}


def _ways(label: str, chosen: list[str], graph: Graph) -> list[int]:
    """Return the lengths of all ways to `label` from those that none of `chosen` names."""
    above = [one for one in chosen if label in graph.nodes[one].below]
    return [way + 1 for one in above for way in _ways(one, chosen, graph)] or [0]
