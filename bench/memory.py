"""Memory: the most that a null build has at a time."""

from functools import partial

from bench.measure import Bench, Figure, medians
from bench.null import built, commands

MOST = 60.0  # MiB


def figures(bench: Bench) -> list[Figure]:
    """Compare the peak of a null build with ninja's."""
    targets = bench.size(10_000, 1000)
    graph = built(bench, targets)
    tools = commands(graph)
    peaks = medians(
        {name: partial(bench.peak, argv, cwd=folder) for name, (argv, folder) in tools.items()},
        repeats=3,
    )
    what = f"peak memory of a null build of {targets:,} targets"
    return [Figure(what, "ninja", peaks["mlbuild"], peaks["ninja"], unit="MiB", most=MOST)]
