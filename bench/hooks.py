"""Hooks: how long a push waits for the hook that finds out, of 5,000 targets, what to build."""

import os

from bench.affected import commit, generate, git
from bench.loading import TARGETS
from bench.measure import Bench, Figure, medians, mlbuild, write

MOST = 2.0  # seconds
# Nothing of it is affected: what a push waits for is the look, not a build beside it.
SETTINGS = '[workspace]\nname = "hooks"\n\n[hooks]\ntargets = ["//p1:t1"]\n'


def figures(bench: Bench) -> list[Figure]:
    """Compare a push that is only tried, with the hook, with one without."""
    packages = bench.size(500, 50)
    workspace = generate(bench, packages)
    server = os.path.join(bench.place("server"), "server.git")
    write(os.path.join(workspace, "mlbuild.toml"), SETTINGS)
    commit(workspace)
    git(workspace, "init", "-q", "--bare", server)
    git(workspace, "push", "-q", server, "HEAD~1:refs/heads/main")
    git(workspace, "remote", "add", "origin", server)
    git(workspace, "fetch", "-q", "origin")
    write(os.path.join(workspace, "p0", "s0.txt"), "edited again\n")
    commit(workspace)
    bench.seconds(mlbuild("hooks", "install", "pre-push"), cwd=workspace)
    push = ["git", "push", "--dry-run", "-q", "origin", "HEAD:main"]
    times = medians(
        {
            "hook": lambda: bench.seconds(push, cwd=workspace),
            "none": lambda: bench.seconds([*push, "--no-verify"], cwd=workspace),
        },
        repeats=bench.size(7, 3),
    )
    what = f"{packages * TARGETS:,} targets: a push with the hook pre-push"
    return [Figure(what, "the same push without it", times["hook"], times["none"], most=MOST)]
