"""Affected: which of 5,000 targets differ between two commits, read from git objects."""

import os
import subprocess

from bench.loading import TARGETS
from bench.measure import Bench, Figure, medians, mlbuild, wipe, write

MOST = 5.0  # seconds, whatever was edited


def figures(bench: Bench) -> list[Figure]:
    """Compare with git, which only names the files that differ."""
    packages = bench.size(500, 50)
    workspace = generate(bench, packages)
    words = ("affected", "--label", "--base")

    def affected(base: str, head: str) -> float:
        return bench.seconds(mlbuild(*words, base, "--head", head), cwd=workspace)

    def cold() -> float:
        wipe(os.path.join(bench.cache, "code"))
        return affected("HEAD~1", "HEAD")

    first = bench.output(mlbuild(*words, "HEAD~2", "--head", "HEAD~1"), cwd=workspace)
    if len(first.splitlines()) != packages:
        raise SystemExit(f"an edit reached {len(first.splitlines())} targets, not {packages}")
    git = ["git", "diff", "--name-only", "HEAD~2", "HEAD"]
    times = medians(
        {
            "source": lambda: affected("HEAD~2", "HEAD~1"),
            "build": lambda: affected("HEAD~1", "HEAD"),
            "git": lambda: bench.seconds(git, cwd=workspace),
        },
        repeats=bench.size(7, 3),
    )
    colds = medians({"cold": cold}, repeats=bench.size(3, 1))
    what = f"{packages * TARGETS:,} targets: affected"
    peer = "`git diff --name-only`"
    return [
        Figure(f"{what}, a source edited", peer, times["source"], times["git"], most=MOST),
        Figure(f"{what}, a BUILD.ml edited", peer, times["build"], times["git"], most=MOST),
        Figure(f"{what}, no file compiled yet", peer, colds["cold"], times["git"], most=MOST),
    ]


def generate(bench: Bench, packages: int) -> str:
    """Commit a workspace, then an edit of a source, then one of a BUILD.ml; return its folder."""
    workspace = bench.place("affected")
    write(os.path.join(workspace, "mlbuild.toml"), '[workspace]\nname = "affected"\n')
    for number in range(packages):
        folder = os.path.join(workspace, f"p{number}")
        write(os.path.join(folder, "BUILD.ml"), package(number))
        for target in range(TARGETS):
            write(os.path.join(folder, f"s{target}.txt"), f"{number} {target}\n")
    git(workspace, "init", "-q")
    commit(workspace)
    write(os.path.join(workspace, "p0", "s0.txt"), "edited\n")
    commit(workspace)
    write(os.path.join(workspace, "p0", "BUILD.ml"), package(0, command="cat -s"))
    commit(workspace)
    return workspace


def package(number: int, *, command: str = "cat") -> str:
    """Return a BUILD.ml whose first target depends on the first of the package before."""
    lines: list[str] = []
    for target in range(TARGETS):
        above = f', "//p{number - 1}:t0"' if number and not target else ""
        lines.append(
            f'genrule(name = "t{target}", srcs = ["s{target}.txt"{above}], '
            f'outs = ["t{target}.txt"], cmd = "{command} $(SRCS) > $@")\n'
        )
    return "".join(lines)


def commit(workspace: str) -> None:
    """Commit everything."""
    git(workspace, "add", "-A")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    git(workspace, *who, "commit", "-q", "-m", "an edit")


def git(workspace: str, *words: str) -> None:
    """Run git in the workspace."""
    subprocess.run(["git", *words], cwd=workspace, check=True)
