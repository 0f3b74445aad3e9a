"""Restore: outputs that are in the store come back to where they are looked for."""

import io
import os
import tarfile

from bench.measure import Bench, Figure, aside, forget, medians, mlbuild, settle, write


def figures(bench: Bench) -> list[Figure]:
    """Compare bringing deleted outputs back with a null build."""
    size, number = bench.size(2 << 30, 256 << 20), bench.size(5000, 500)
    workspace = bench.place("restore")
    write(os.path.join(workspace, "mlbuild.toml"), '[workspace]\nname = "bench"\n')
    write(
        os.path.join(workspace, "BUILD.ml"),
        f'genrule(name = "one", outs = ["one.bin"], cmd = "head -c {size} /dev/zero > $@")\n'
        'dataset(name = "many", srcs = ["many.tar.gz"], unpack = True)\n',
    )
    _archive(os.path.join(workspace, "many.tar.gz"), number)
    return [
        *_figures(bench, workspace, "//:one", f"an output of {size / (1 << 30):g} GiB restored"),
        *_figures(bench, workspace, "//:many", f"an output of {number:,} files restored"),
    ]


def _archive(path: str, number: int) -> None:
    """Write an archive of files of 20 KiB."""
    with tarfile.open(path, "w:gz") as archive:
        for index in range(number):
            entry = tarfile.TarInfo(f"many/{index:05}")
            entry.size = 20 << 10
            archive.addfile(entry, io.BytesIO(b"%08d" % index * (entry.size // 8)))


def _figures(bench: Bench, workspace: str, label: str, what: str) -> list[Figure]:
    argv = mlbuild(label, "--executor", "process")
    bench.seconds(argv, cwd=workspace)

    def restored() -> float:
        aside(bench, os.path.join(workspace, "mlbuild-out"))
        return bench.seconds(argv, cwd=workspace)

    def relinked() -> float:
        forget(bench, workspace, store=False)
        return bench.seconds(argv, cwd=workspace)

    def unchanged() -> float:
        settle(bench, argv, cwd=workspace)
        return bench.seconds(argv, cwd=workspace)

    # In this order: the state that one case removes is what the next ones rest on.
    times = medians(
        {"relinked": relinked, "unchanged": unchanged, "restored": restored},
        repeats=bench.size(9, 5),
    )
    null = times["unchanged"]
    return [
        Figure(what, "its null build", times["restored"], null, factor=1, more=0.05),
        Figure(f"{what}, state lost too", "its null build", times["relinked"], null),
    ]
