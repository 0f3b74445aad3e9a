"""Unchanged: the same command over the same files gets the same answer, and nothing else does."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlbuild import columns
from tests.harness import Build

# What a null build may import beyond what a bare interpreter has anyway.
ALLOWED = {
    "mlbuild",
    "mlbuild.__main__",
    "mlbuild.columns",
    "mlbuild.unchanged",
    *("_collections", "_functools", "_operator", "array", "collections", "collections.abc"),
    *("functools", "itertools", "keyword", "operator", "reprlib", "types", "zlib"),
}
PROGRAM = """
import sys
report = sys.argv.pop(1)
before = set(sys.modules)
from mlbuild.__main__ import main
code = main()
with open(report, "w") as file:
    print(*sorted(set(sys.modules) - before), file=file)
sys.exit(code)
"""


@dataclass(frozen=True)
class Answer:
    """What a command printed, without the time it took, and what it imported."""

    code: int
    stdout: str
    stderr: str
    modules: frozenset[str]

    @property
    def at_once(self) -> bool:
        return "mlbuild.cli.main" not in self.modules


def ask(build: Build, *words: str, cwd: Path | None = None) -> Answer:
    """Run `mlbuild WORDS...`."""
    report = build.root.parent / "modules"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(report), *words],
        cwd=cwd or build.root,
        env=build.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    modules = frozenset(report.read_text().split())
    report.unlink()
    stdout = re.sub(r'"seconds": [0-9.]+\}', '"seconds": S}', done.stdout)
    stderr = re.sub(r"[0-9.]+s$", "Ss", done.stderr, flags=re.MULTILINE)
    return Answer(done.returncode, stdout, stderr, modules)


def settle(root: Path) -> None:
    """Wait until the sources are old enough for their stamps to be trusted."""
    paths = [path for path in root.rglob("*") if ".mlbuild" not in path.parts]
    newest = max(path.lstat().st_ctime_ns for path in paths)
    while time.time_ns() <= newest + 2 * columns.TICK:
        time.sleep(0.01)


@pytest.fixture
def built(build: Build) -> Build:
    """A workspace that was built, and whose `mlbuild //...` is answered at once."""
    build.file("a.txt", "one").file("pkg/b.txt", "two").file("images/1/x", "x").file(
        "images/y", "y"
    )
    build.file("other", "ten").genrule("up", "tr a-z A-Z", "a.txt")
    build.genrule("count", "wc -c", "//:up", "b.txt", package="pkg")
    with (build.root / "BUILD.ml").open("a") as file:
        file.write('dataset(name = "data", srcs = ["images"])\n')
    settle(build.root)
    assert build.run("//...").code == 0
    assert ask(build, "//...").at_once
    return build


def test_a_null_build_imports_next_to_nothing(built: Build) -> None:
    answer = ask(built, "//...")

    assert answer.at_once
    assert answer.modules <= ALLOWED


@pytest.mark.parametrize("words", [["//..."], ["build", "--json", "//...", "-k"]])
def test_the_answer_is_what_a_build_prints_that_finds_nothing_to_do(
    built: Build, words: list[str]
) -> None:
    ask(built, *words)
    slow = ask(built, *words, "--events", os.devnull)

    quick = ask(built, *words)

    assert (slow.at_once, quick.at_once) == (False, True)
    assert (quick.code, quick.stdout, quick.stderr) == (slow.code, slow.stdout, slow.stderr)


def test_json_from_an_answer_is_json(built: Build) -> None:
    built.run("//...", "--json")

    report = json.loads(built.run("//...", "--json").stdout)

    assert sorted(report["cached"]) == ["//:data", "//:up", "//pkg:count"]
    assert isinstance(report["seconds"], float)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a source": lambda root: (root / "a.txt").write_text("two"),
    "a source replaced by another": lambda root: (root / "other").replace(root / "a.txt"),
    "a mode": lambda root: (root / "a.txt").chmod(0o755),
    "a file in a folder": lambda root: (root / "images" / "1" / "x").write_text("z"),
    "a new file in a folder": lambda root: (root / "images" / "1" / "new").write_text(""),
    "a file that is gone": lambda root: (root / "images" / "y").unlink(),
    "a BUILD.ml": lambda root: _append(root / "BUILD.ml"),
    "a new package": lambda root: _write(root / "new" / "BUILD.ml"),
    "settings": lambda root: _append(root / "mlbuild.toml"),
    "new settings": lambda root: (root / "mlbuild.local.toml").write_text(""),
    "an output": lambda root: _overwrite(root / "mlbuild-out" / "up" / "up.txt"),
    "the lost tree of an output": lambda root: _overwrite(
        (root / "mlbuild-out" / "up").resolve(), gone=True
    ),
}


def _write(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")


def _append(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


def _overwrite(path: Path, *, gone: bool = False) -> None:
    """Damage what lies in the store, against its will."""
    path.parent.chmod(0o755)
    if gone:
        path.rename(path.with_name("elsewhere"))
    else:
        path.chmod(0o644)
        path.write_text("damaged")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_takes_the_normal_way(built: Build, change: Callable[[Path], object]) -> None:
    change(built.root)

    answer = ask(built, "//...")

    assert not answer.at_once
    assert answer.code == 0
    assert built.output("up/up.txt") == (built.root / "a.txt").read_text().upper()


def test_another_command_is_not_the_same_command(built: Build) -> None:
    (built.root / "mlbuild.toml").with_name("empty").mkdir()
    built.run("//...")

    others = [
        ask(built, "//:up"),
        ask(built, "//...", "--rerun"),
        ask(built, "//...", "--dry-run"),
        ask(built, "//...", cwd=built.root / "pkg"),
        ask(built, "clean", "--help"),
    ]
    built.env["MLBUILD_JOBS"] = "1"
    others.append(ask(built, "//..."))

    assert not any(answer.at_once for answer in others)


def test_a_rerun_or_dry_run_is_never_answered_from_memory(built: Build) -> None:
    for word in ("--rerun", "--dry-run"):
        answers = [ask(built, "//...", word) for _ in range(3)]

        assert not any(answer.at_once for answer in answers)


def test_a_failure_is_never_answered_from_memory(build: Build) -> None:
    build.genrule("bad", "false && false")
    settle(build.root)

    answers = [ask(build, "//...") for _ in range(3)]

    assert [(answer.code, answer.at_once) for answer in answers] == [(1, False)] * 3


def test_a_source_that_is_too_young_is_not_trusted(build: Build) -> None:
    build.file("a.txt", "one").genrule("up", "tr a-z A-Z", "a.txt")
    ahead = time.time_ns() + 3_600_000_000_000
    os.utime(build.root / "a.txt", ns=(ahead, ahead))

    answers = [ask(build, "//...") for _ in range(3)]

    assert not any(answer.at_once for answer in answers)


def test_a_folder_that_took_the_place_of_another_during_the_build_is_not_trusted(
    build: Build,
) -> None:
    go, begun = build.root.parent / "go", build.root.parent / "begun"
    build.file("data/in.txt", "old\n").file("other/in.txt", "new\n")
    build.genrule("copy", "cat", "data/in.txt")
    build.genrule(
        "slow", f"(touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done; cat)", ":copy"
    )
    settle(build.root)
    process = build.start("build", "--executor", "process", "//:slow")
    while not begun.exists() and process.poll() is None:
        time.sleep(0.01)

    (build.root / "data").rename(build.root / "was")
    (build.root / "other").rename(build.root / "data")  # its file is older than the build
    go.touch()
    process.communicate()
    ask(build, "build", "--executor", "process", "//:slow")

    assert build.output("slow/slow.txt") == "new\n"


def test_a_file_that_came_during_the_build_is_not_overlooked(build: Build) -> None:
    go, begun = build.root.parent / "go", build.root.parent / "begun"
    build.file("data/old.csv", "old\n").file(
        "data/BUILD.ml",
        'genrule(name = "all", srcs = glob(["*.csv"]), outs = ["all.txt"], '
        f'cmd = "cat $(SRCS) > $@; touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done")\n',
    )
    settle(build.root)
    process = build.start("build", "--executor", "process", "//data:all")
    while not begun.exists() and process.poll() is None:
        time.sleep(0.01)

    build.file("data/new.csv", "new\n")
    go.touch()
    process.communicate()
    ask(build, "build", "--executor", "process", "//data:all")

    assert build.output("data/all/all.txt") == "new\nold\n"


def test_a_package_that_took_the_place_of_another_while_it_was_read_is_not_trusted(
    build: Build,
) -> None:
    slow = "def slow():\n    found = 0\n    for n in range(600000):\n        found += n % 7\n"
    for folder, word in (("a", "old"), ("other", "new")):
        build.file(f"{folder}/BUILD.ml", 'print("it is read")\n')
        build.genrule("it", f"(cat; echo {word})", package=folder)
    build.file("b/slow.bzl", slow).file("b/BUILD.ml", 'load("slow.bzl", "slow")\nslow()\n')
    build.genrule("it", "cat", package="b")
    settle(build.root)
    process = build.start("build", "//a:it", "//b:it")
    assert process.stderr is not None
    process.stderr.readline()

    (build.root / "a").rename(build.root / "was")
    (build.root / "other").rename(build.root / "a")  # its BUILD.ml is older than the build
    process.communicate()
    ask(build, "build", "//a:it", "//b:it")

    assert build.output("a/it/it.txt") == "new\n"


def test_deleted_outputs_come_back_with_the_answer(built: Build) -> None:
    for path in ("mlbuild-out/up", "mlbuild-out/pkg/count"):
        (built.root / path).unlink()
    (built.root / "mlbuild-out" / "pkg").rmdir()

    answer = ask(built, "//...")

    assert answer.at_once
    assert built.output("up/up.txt") == "ONE"
    assert built.output("pkg/count/count.txt").strip() == "6"


def test_a_users_file_in_the_place_of_an_output_is_not_touched(built: Build) -> None:
    place = built.root / "mlbuild-out" / "up"
    place.unlink()
    place.mkdir()
    (place / "mine").write_text("mine")

    answer = ask(built, "//...")

    assert (answer.code, answer.at_once) == (2, False)
    assert "mlbuild-out/up/mine` is not of mlbuild" in answer.stderr
    assert (place / "mine").read_text() == "mine"


def test_a_damaged_record_is_no_answer(built: Build) -> None:
    (place,) = (built.root / ".mlbuild" / "requests").iterdir()
    content = place.read_bytes()
    spoilt = [b"", content[:3], content[: len(content) // 2], content + b"\0"]
    spoilt += [
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        for at in range(0, len(content), len(content) // 4)
    ]

    for one in spoilt:
        place.write_bytes(one)
        answer = ask(built, "//...")

        assert (answer.code, answer.at_once) == (0, False)


def test_nobody_to_read_the_answer_is_no_failure(built: Build) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            built.command("//..."),
            cwd=built.root,
            env=built.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 0
    assert done.stderr.startswith("3 targets: 3 cached")
    assert len(done.stderr.splitlines()) == 1


def test_the_version_needs_none_of_our_modules(build: Build) -> None:
    answer = ask(build, "--version")

    assert answer.stdout.startswith("mlbuild ")
    assert answer.modules <= {"mlbuild", "mlbuild.__main__"}
