"""Full builds: every action of a graph runs, and each takes next to no time by itself."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
            "bwrap": lambda: _bwrap(bench, targets),
        },
        repeats=bench.size(5, 3),
    )
    what = f"full build of {targets:,} trivial actions, 2 jobs"
    return [
        Figure(f"{what}, plain", "ninja", times["plain"], times["ninja"], factor=2),
        Figure(f"{what}, sandboxed", "ninja", times["sandbox"], times["ninja"], factor=3.5),
        Figure(f"{what}, sandboxed", "bwrap alone", times["sandbox"], times["bwrap"]),
        Figure(f"{what}, plain", "make", times["plain"], times["make"]),
    ]


def _ours(bench: Bench, graph: Graph, executor: str) -> Callable[[], float]:
    def run() -> float:
        forget(bench, graph.workspace, store=True)
        words = ("//...", "--executor", executor, "-j2")
        return bench.seconds(mlbuild(*words), cwd=graph.workspace)

    return run


def _bwrap(bench: Bench, targets: int) -> float:
    """Time as many sandboxes with the same namespaces, two at a time, and nothing around them."""
    namespaces = ["user", "pid", "ipc", "uts", "net"]
    sandbox = [
        "bwrap",
        *(f"--unshare-{name}" for name in namespaces),
        *("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 - its own
        *("--", "/bin/sh", "-c", "cksum /usr/bin/env > /tmp/out"),
    ]
    with ThreadPoolExecutor(2) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda _: bench.seconds(sandbox, cwd="/"), range(targets)):
            pass
        return time.perf_counter() - started


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
