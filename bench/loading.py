"""Loading: from 1,000 BUILD.ml files of 10 targets each to a plan, on one core.

Each program tells how long that took: the start and the end of its interpreter are left out.
"""

import os
import sys
import time
from collections.abc import Callable

from bench.measure import Bench, Figure, forget, medians, wipe, write

TARGETS = 10  # in a package
COLD, WARM = 8.0, 0.25  # seconds, for 1,000 packages

_PLAN = """
import gc, os, sys, time
gc.set_threshold(200_000, 50, 100)  # as the command line does
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from mlbuild.cli.options import Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.config import process_environment
from mlbuild.invocation import Invocation, Request
started = time.perf_counter()
session = open_session(Words({}, ()), Screen(process_environment()))
invocation = Invocation(session.workspace, session.config, emit=lambda _: None)
planned = invocation.planned(Request(("//...",)))
print(time.perf_counter() - started)
assert len(planned.plan.actions) == int(sys.argv[1])
assert sys.argv[2] == "lark" or "lark" not in sys.modules
"""
_PEER = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import starlark
started = time.perf_counter()
known = starlark.Globals.standard()
for folder, _, names in os.walk("."):
    if "BUILD.ml" in names:
        made = []
        module = starlark.Module()
        module.add_callable("genrule", lambda **given: made.append(given))
        text = open(os.path.join(folder, "BUILD.ml")).read()
        starlark.eval(module, starlark.parse("BUILD.ml", text), known)
        assert made
print(time.perf_counter() - started)
"""
_LOOK = """
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
started = time.perf_counter()
for folder, _, names in os.walk("."):
    for name in names:
        os.stat(os.path.join(folder, name))
print(time.perf_counter() - started)
"""


def figures(bench: Bench) -> list[Figure]:
    """Compare planning with a Starlark in Rust that only evaluates, and with looking at files."""
    packages = bench.size(1000, 100)
    workspace = generate(bench, packages)
    edits = iter(range(1_000_000))

    def plan(*, lark: bool) -> float:
        words = (str(packages * TARGETS), "lark" if lark else "")
        return float(bench.output([sys.executable, "-c", _PLAN, *words], cwd=workspace))

    def cold() -> float:
        forget(bench, workspace, store=False)
        wipe(os.path.join(bench.cache, "code"))
        return plan(lark=True)

    def changed() -> float:
        path = os.path.join(workspace, _folder(packages // 50), "BUILD.ml")
        write(path, package(packages // 50, command=f"echo {next(edits)}"))
        time.sleep(0.1)  # a file younger than a tick of the clock is not trusted
        return plan(lark=True)

    def after(first: Callable[[], float]) -> float:
        """Time a plan when the one before has been kept."""
        first()
        time.sleep(0.1)
        return first()

    def script(text: str) -> Callable[[], float]:
        return lambda: float(bench.output([sys.executable, "-c", text], cwd=workspace))

    repeats = bench.size(5, 3)
    colds = medians({"mlbuild": cold, "starlark": script(_PEER)}, repeats=repeats)
    plan(lark=True)
    warms = medians(
        {
            "warm": lambda: after(lambda: plan(lark=False)),
            "changed": lambda: after(changed),
            "look": script(_LOOK),
        },
        repeats=repeats,
    )
    what = f"{packages:,} BUILD.ml files of {TARGETS} targets"
    share = packages / 1000
    rust, look = "evaluating them in Rust", "stat of each file"
    return [
        Figure(f"{what}: plan, cold", rust, colds["mlbuild"], colds["starlark"], most=COLD * share),
        Figure(f"{what}: plan, warm", look, warms["warm"], warms["look"], most=WARM),
        Figure(f"{what}: plan, one file changed", look, warms["changed"], warms["look"]),
    ]


def generate(bench: Bench, packages: int) -> str:
    """Write packages that each depend on the one before; return the workspace."""
    workspace = bench.place("loading")
    write(os.path.join(workspace, "mlbuild.toml"), '[workspace]\nname = "loading"\n')
    for number in range(packages):
        write(os.path.join(workspace, _folder(number), "BUILD.ml"), package(number))
    return workspace


def package(number: int, *, command: str = "echo") -> str:
    """Return the text of one BUILD.ml."""
    lines = [f'"""Package {number}."""\n']
    for target in range(TARGETS):
        before = f":t{target - 1}" if target else f"//{_folder(number - 1)}:t0" if number else ""
        sources = f'["{before}"]' if before else "[]"
        lines.append(
            f'\ngenrule(\n    name = "t{target}",\n    srcs = {sources},\n'
            f'    outs = ["t{target}.txt"],\n    cmd = "{command} {target} $(SRCS) > $@",\n'
            f'    tags = ["number-{target}"],\n)\n'
        )
    return "".join(lines)


def _folder(number: int) -> str:
    return f"g{number // 50}/p{number}"
