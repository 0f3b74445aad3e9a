"""Full builds: every action of a graph runs, and each takes next to no time by itself."""

import os
from collections.abc import Callable

from bench.graphs import Graph, generate
from bench.measure import Bench, Figure, aside, forget, medians, mlbuild


def figures(bench: Bench) -> list[Figure]:
    """Compare full builds, in a sandbox and as plain processes, with ninja and make."""
    targets = bench.size(1000, 200)
    graph = generate(bench.place("full"), targets)
    times = medians(
        {
            "plain": _ours(bench, graph, "process"),
            "sandbox": _ours(bench, graph, "sandbox"),
            "ninja": lambda: _ninja(bench, graph),
            "make": lambda: _make(bench, graph),
        },
        repeats=bench.size(5, 3),
    )
    what = f"full build of {targets:,} trivial actions, 2 jobs"
    return [
        Figure(f"{what}, plain", "ninja", times["plain"], times["ninja"], factor=2),
        Figure(f"{what}, sandboxed", "ninja", times["sandbox"], times["ninja"], factor=3.5),
        Figure(f"{what}, plain", "make", times["plain"], times["make"]),
    ]


def _ours(bench: Bench, graph: Graph, executor: str) -> Callable[[], float]:
    def run() -> float:
        forget(bench, graph.workspace, store=True)
        words = ("//...", "--executor", executor, "-j2")
        return bench.seconds(mlbuild(*words), cwd=graph.workspace)

    return run


def _ninja(bench: Bench, graph: Graph) -> float:
    aside(bench, os.path.join(graph.ninja, "out"))
    aside(bench, os.path.join(graph.ninja, ".ninja_log"))
    return bench.seconds(["ninja", "-j2"], cwd=graph.ninja)


def _make(bench: Bench, graph: Graph) -> float:
    out = os.path.join(graph.make, "out")
    folders = os.listdir(out)
    aside(bench, out)
    for name in folders:
        os.makedirs(os.path.join(out, name))
    return bench.seconds(["make", "-j2"], cwd=graph.make)
