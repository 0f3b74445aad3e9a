"""Null builds: nothing has changed, and that is to be said."""

from functools import partial

from bench.graphs import Graph, generate
from bench.measure import Bench, Figure, medians, mlbuild, settle

GOALS = {1000: 5.0, 10_000: 2.5}  # times ninja
WORDS = ("//...", "--executor", "process", "-j2")


def built(bench: Bench, targets: int) -> Graph:
    """Return a graph that mlbuild, ninja and make have built."""
    graph = generate(bench.place(f"null-{targets}"), targets)
    for argv, folder in commands(graph).values():
        bench.seconds(argv, cwd=folder)
    settle(bench, mlbuild(*WORDS), cwd=graph.workspace)
    return graph


def commands(graph: Graph) -> dict[str, tuple[list[str], str]]:
    """Return the command of each tool, and the folder that it is given in."""
    return {
        "mlbuild": (mlbuild(*WORDS), graph.workspace),
        "ninja": (["ninja", "-j2"], graph.ninja),
        "make": (["make", "-j2"], graph.make),
    }


def figures(bench: Bench) -> list[Figure]:
    """Compare null builds of graphs of several sizes with ninja and make."""
    found: list[Figure] = []
    for targets in (10, 100, 1000) if bench.quick else (10, 100, 1000, 10_000):
        graph = built(bench, targets)
        times = medians(
            {
                name: partial(bench.seconds, argv, cwd=folder)
                for name, (argv, folder) in commands(graph).items()
            },
            repeats=bench.size(21, 9),
        )
        what = f"null build of {targets:,} targets"
        goal = GOALS.get(targets)
        found += [
            Figure(what, "ninja", times["mlbuild"], times["ninja"], factor=goal),
            Figure(what, "make", times["mlbuild"], times["make"]),
        ]
    return found
