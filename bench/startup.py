"""Start-up: what every command costs before it does anything."""

import sys
from functools import partial

from bench.measure import Bench, Figure, medians, mlbuild


def figures(bench: Bench) -> list[Figure]:
    """Compare `mlbuild --version` with an interpreter that does nothing."""
    cases = {
        "mlbuild": mlbuild("--version"),
        "python": [sys.executable, "-I", "-c", "pass"],
    }
    for argv in cases.values():
        bench.seconds(argv, cwd=bench.folder)
    found = medians(
        {name: partial(bench.seconds, argv, cwd=bench.folder) for name, argv in cases.items()},
        repeats=bench.size(31, 11),
    )
    return [Figure("start-up", "python -I -c pass", found["mlbuild"], found["python"], factor=4)]
