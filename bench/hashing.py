"""Hashing: a dataset is looked at for the first time, and again when nothing has changed."""

import os
import sys

from bench.measure import Bench, Figure, forget, medians, mlbuild, settle, wipe, write

BIG = "from blake3 import blake3; blake3(max_threads=blake3.AUTO).update_mmap('data/one').digest()"
LOOP = """
import os
from blake3 import blake3
for folder, _, names in os.walk("data"):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            blake3(file.read()).digest()
"""


def figures(bench: Bench) -> list[Figure]:
    """Compare with plain BLAKE3 of the same bytes, and with `find` over the same files."""
    return [*_one_big(bench), *_many_small(bench)]


def _one_big(bench: Bench) -> list[Figure]:
    size = bench.size(4 << 30, 512 << 20)
    workspace = _workspace(bench, "big")
    block = os.urandom(64 << 20)
    with open(os.path.join(workspace, "data", "one"), "wb") as file:
        file.writelines(block for _ in range(size // len(block)))
    times = medians(
        {
            "mlbuild": lambda: _cold(bench, workspace),
            "blake3": lambda: _warm(bench, [sys.executable, "-c", BIG], workspace),
        },
        repeats=bench.size(5, 3),
    )
    wipe(workspace)
    what = f"one file of {size / (1 << 30):g} GiB hashed, no index"
    return [
        Figure(what, "BLAKE3, all threads, mmap", times["mlbuild"], times["blake3"], factor=1.3)
    ]


def _many_small(bench: Bench) -> list[Figure]:
    number = bench.size(200_000, 20_000)
    workspace = _workspace(bench, "small")
    for folder in range(number // 1000):
        os.makedirs(os.path.join(workspace, "data", f"{folder:03}"))
        for name in range(1000):
            with open(
                os.path.join(workspace, "data", f"{folder:03}", f"{name:03}.bin"), "wb"
            ) as file:
                file.write(b"%08d" % (folder * 1000 + name) * 128)
    first = medians(
        {
            "mlbuild": lambda: _cold(bench, workspace),
            "loop": lambda: _warm(bench, [sys.executable, "-c", LOOP], workspace),
        },
        repeats=bench.size(5, 3),
    )
    settle(bench, mlbuild("//:all"), cwd=workspace)
    find = ["find", "data", "-printf", "%p %s %T@ %C@ %i\\n"]
    again = medians(
        {
            "mlbuild": lambda: bench.seconds(mlbuild("//:all"), cwd=workspace),
            "find": lambda: bench.seconds(find, cwd=workspace),
        },
        repeats=bench.size(9, 5),
    )
    wipe(workspace)
    what = f"{number:,} files of 1 KiB"
    return [
        Figure(
            f"{what} hashed, no index",
            "a loop of read and BLAKE3",
            first["mlbuild"],
            first["loop"],
            factor=1.6,
        ),
        Figure(f"{what}, unchanged", "find -printf", again["mlbuild"], again["find"], factor=1.8),
    ]


def _workspace(bench: Bench, name: str) -> str:
    workspace = bench.place(name)
    write(os.path.join(workspace, "mlbuild.toml"), '[workspace]\nname = "bench"\n')
    write(os.path.join(workspace, "BUILD.ml"), 'dataset(name = "all", srcs = ["data"])\n')
    os.makedirs(os.path.join(workspace, "data"))
    return workspace


def _cold(bench: Bench, workspace: str) -> float:
    forget(bench, workspace, store=False)
    return _warm(bench, mlbuild("//:all"), workspace)


def _warm(bench: Bench, argv: list[str], workspace: str) -> float:
    """Run a command after all files were read, lest the disk be measured."""
    bench.seconds(
        ["sh", "-c", "find data -type f -print0 | xargs -0 cat > /dev/null"], cwd=workspace
    )
    return bench.seconds(argv, cwd=workspace)
