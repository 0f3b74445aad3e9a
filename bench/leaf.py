"""Leaf: one source changes, and everything that it reaches is made again."""

import itertools
import json
from functools import partial

from bench.graphs import CONE
from bench.measure import Bench, Figure, medians, mlbuild, write
from bench.null import WORDS, built, commands


def figures(bench: Bench) -> list[Figure]:
    """Compare builds after a change of one source with ninja and make."""
    targets = bench.size(1000, 500)
    graph = built(bench, targets)
    counter = itertools.count(1000)
    write(graph.leaf, f"{next(counter)}\n")
    ran = json.loads(bench.output(mlbuild(*WORDS, "--json"), cwd=graph.workspace))["ran"]
    if len(ran) != CONE:
        raise SystemExit(f"a change of one leaf ran {len(ran)} actions, not {CONE}")

    def after_a_change(argv: list[str], folder: str) -> float:
        write(graph.leaf, f"{next(counter)}\n")
        return bench.seconds(argv, cwd=folder)

    times = medians(
        {
            name: partial(after_a_change, argv, folder)
            for name, (argv, folder) in commands(graph).items()
        },
        repeats=bench.size(9, 3),
    )
    what = f"one leaf of {targets:,} changed, {CONE} actions run, plain"
    return [
        Figure(what, "ninja", times["mlbuild"], times["ninja"], factor=2.5),
        Figure(what, "make", times["mlbuild"], times["make"]),
    ]
