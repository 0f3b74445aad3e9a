"""The program: run all measurements, or those named; write docs/benchmarks.md and .json."""

import argparse
import compileall
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict

import mlbuild
from bench import (
    affected,
    docker,
    elsewhere,
    full,
    hashing,
    hooks,
    leaf,
    loading,
    memory,
    null,
    query,
    reapi,
    restore,
    shared,
    slurm,
    startup,
)
from bench.measure import Bench, Figure, wipe, write

MEASURES = {
    "startup": startup.figures,
    "null": null.figures,
    "full": full.figures,
    "leaf": leaf.figures,
    "loading": loading.figures,
    "query": query.figures,
    "hashing": hashing.figures,
    "restore": restore.figures,
    "memory": memory.figures,
    "docker": docker.figures,
    "shared": shared.figures,
    "elsewhere": elsewhere.figures,
    "slurm": slurm.figures,
    "reapi": reapi.figures,
    "affected": affected.figures,
    "hooks": hooks.figures,
}
DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
HEAD = "| what | peer | peer's median | mlbuild's median | ratio | goal | reached |"
RULE = "| --- | --- | ---: | ---: | ---: | --- | --- |"


def main() -> int:
    """Measure; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {' '.join(MEASURES)}; by default all")
    parser.add_argument("--quick", action="store_true", help="small sizes; writes no documents")
    parser.add_argument("--folder", default=None, help="where files go, by default below $TMPDIR")
    words = parser.parse_args()
    if unknown := [name for name in words.names if name not in MEASURES]:
        parser.error(f"no measurement is named {unknown[0]!r}")
    # As an installation does: a checkout may hold no compiled modules, or old ones.
    compileall.compile_dir(os.path.dirname(mlbuild.__file__), quiet=1)
    folder = tempfile.mkdtemp(prefix="mlbuild-bench-", dir=words.folder)
    bench = Bench(folder, quick=words.quick)
    found: list[Figure] = []
    try:
        sys.stdout.write(f"{HEAD}\n{RULE}\n")
        for name in words.names or MEASURES:
            for figure in MEASURES[name](bench):
                found.append(figure)
                sys.stdout.write(f"{row(figure)}\n")
                sys.stdout.flush()
        if not words.quick and not words.names:
            _document(bench, found)
    finally:
        wipe(folder)
    return 1 if any(figure.reached is False for figure in found) else 0


def row(figure: Figure) -> str:
    """Return a line of the table."""
    cells = (
        figure.what,
        figure.peer,
        _amount(figure.theirs, figure.unit),
        _amount(figure.ours, figure.unit),
        f"{figure.ratio:.2f}",
        figure.goal,
        {True: "yes", False: "**no**", None: ""}[figure.reached],
    )
    return f"| {' | '.join(cells)} |"


def _amount(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    return f"{value:.0f} {unit}"


def _document(bench: Bench, found: list[Figure]) -> None:
    """Write what was measured, for people and for programs."""
    machine = _machine(bench)
    text = "".join(f"- {name}: {value}\n" for name, value in machine.items())
    table = "\n".join([HEAD, RULE, *(row(figure) for figure in found)])
    write(
        os.path.join(DOCS, "benchmarks.md"),
        "# Benchmarks\n\n"
        "Written by `make bench`. Each row compares medians of one run on one machine, the two\n"
        "commands taking turns: the ratio is the result, the times are for orientation.\n\n"
        f"{text}\n{table}\n\n{_notes()}",
    )
    rows = [
        {**asdict(figure), "ratio": figure.ratio, "reached": figure.reached} for figure in found
    ]
    content = json.dumps({"machine": machine, "figures": rows}, indent=1)
    write(os.path.join(DOCS, "benchmarks.json"), f"{content}\n")


def _notes() -> str:
    """Return what there is to say about the figures."""
    with open(os.path.join(os.path.dirname(__file__), "notes.md"), encoding="utf-8") as file:
        return file.read()


def _machine(bench: Bench) -> dict[str, str]:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = os.uname()

    def first(*argv: str) -> str:
        return bench.output(argv, cwd=bench.folder).splitlines()[0].strip()

    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": f"{len(os.sched_getaffinity(0))} x {models[0] if models else system.machine}",
        "memory": f"{memory_bytes / (1 << 30):.0f} GiB",
        "system": f"{system.sysname} {system.release}",
        "file system": first("stat", "-f", "-c", "%T", "."),
        "load of 15 minutes": f"{os.getloadavg()[2]:.1f}",
        "tools": ", ".join(
            [
                f"Python {sys.version.split()[0]}",
                f"ninja {first('ninja', '--version')}",
                first("make", "--version"),
            ]
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
