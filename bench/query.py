"""Query: asking a graph that has been read before, and completing labels of it."""

import os
import sys
import time
from functools import partial

from bench.loading import TARGETS, generate
from bench.measure import Bench, Figure, medians, mlbuild, write

WARM = 0.5  # seconds from start to end, 10,000 targets
TAB = 0.15  # seconds until a shell has its candidates
FIND = ["find", ".", "-name", "BUILD.ml", "-printf", "%s %T@\n"]


def figures(bench: Bench) -> list[Figure]:
    """Compare with listing the BUILD.ml files, and with an interpreter that does nothing."""
    packages = bench.size(1000, 100)
    workspace = generate(bench, packages)
    ask = mlbuild("query", "deps(//...)")
    tab = mlbuild("completion", "--words", "--", "build", "//g1/p5")
    python = [sys.executable, "-I", "-c", "pass"]
    build_file = os.path.join(workspace, "g0", "p0", "BUILD.ml")
    with open(build_file, encoding="utf-8") as file:
        text = file.read()

    def run(*argv: str) -> float:
        return bench.seconds(argv, cwd=workspace)

    def edited() -> float:
        write(build_file, f"{text}# {time.monotonic()}\n")
        return run(*ask)

    found = len(bench.output(ask, cwd=workspace).splitlines())
    if found != packages * TARGETS:
        raise SystemExit(f"a query found {found} labels, not {packages * TARGETS}")
    for _ in range(3):
        time.sleep(0.1)  # files younger than a tick of the file system's clock are not kept
        run(*ask)
    times = medians(
        {
            "warm": partial(run, *ask),
            "find": partial(run, *FIND),
            "tab": partial(run, *tab),
            "python": partial(run, *python),
        },
        repeats=bench.size(11, 3),
    )
    edits = medians({"edited": edited}, repeats=bench.size(5, 2))
    what = f"`query 'deps(//...)'` of {packages * TARGETS:,} targets"
    listing = "`find -name BUILD.ml`"
    return [
        Figure(f"{what}, warm", listing, times["warm"], times["find"], most=WARM),
        Figure(f"{what}, one BUILD.ml edited", listing, edits["edited"], times["find"]),
        Figure(
            f"labels of {packages * TARGETS:,} targets completed",
            "python -I -c pass",
            times["tab"],
            times["python"],
            most=TAB,
        ),
    ]
