"""The key is sound: what may change a result is a miss, what cannot is a hit.

Each line of the two tables is one mutation of the workspace in `subject.py`, applied to a fresh
copy of a workspace that has been built. `//:subject` must run again for the first table, and must
not for the second.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mlbuild
from tests.harness import Build
from tests.keys.subject import MACRO, MAIN, lock, make, wheel

Mutation = Callable[[Build], object]


def edit(path: str, old: str, new: str) -> Mutation:
    return lambda build: build.edit(path, old, new)


def rule(old: str, new: str) -> Mutation:
    return edit("BUILD.ml", old, new)


def write(path: str, text: str | bytes) -> Mutation:
    return lambda build: build.file(path, text)


def mode(path: str, bits: int) -> Mutation:
    return lambda build: (build.root / path).chmod(bits)


def link(path: str, target: str) -> Mutation:
    def point(build: Build) -> None:
        (build.root / path).unlink(missing_ok=True)
        os.symlink(target, build.root / path)

    return point


def delete(path: str) -> Mutation:
    return lambda build: (build.root / path).unlink()


def move(old: str, new: str) -> Mutation:
    return lambda build: (build.root / old).rename(build.root / new)


def touch(path: str, when: float) -> Mutation:
    return lambda build: os.utime(build.root / path, (when, when))


def caller(name: str, value: str) -> Mutation:
    return lambda build: build.env.update({name: value})


def both(*mutations: Mutation) -> Mutation:
    return lambda build: [mutation(build) for mutation in mutations]


def wheel_with(source: str) -> Mutation:
    """Replace the wheel of version 1.0 by one with other bytes, and the lock's hash with it."""

    def replace(build: Build) -> None:
        wheels = build.root.parent / "own-wheels"
        build.file("requirements.lock", lock("1.0", wheel(wheels, "1.0", source)))
        build.env["UV_FIND_LINKS"] = str(wheels)

    return replace


def wheel_version(version: str) -> Mutation:
    def replace(build: Build) -> None:
        wheels = Path(build.env["UV_FIND_LINKS"])
        digest = wheel(build.root.parent / "same", version, f"VALUE = {version[0]}\n")
        assert (wheels / f"tiny-{version}-py3-none-any.whl").exists()
        build.file("requirements.lock", lock(version, digest))

    return replace


def other_rules(build: Build) -> None:
    """Edit one byte of a tool of the rules, in a copy of mlbuild that is used from then on."""
    package = Path(mlbuild.__file__).parent
    shipped = package / "_rules" if (package / "_rules").exists() else package.parent / "rules"
    copy = build.root.parent / "mlbuild-copy"
    shutil.copytree(
        package, copy / "mlbuild", ignore=shutil.ignore_patterns("__pycache__", "_rules")
    )
    shutil.copytree(shipped, copy / "rules", ignore=shutil.ignore_patterns("__pycache__"))
    tool = copy / "rules/tools/run_python.py"
    tool.write_text(tool.read_text() + "# one more line\n")
    build.env["PYTHONPATH"] = str(copy)


def reformatted(build: Build) -> None:
    text = (build.root / "BUILD.ml").read_text()
    text = text.replace("    ", "\t".expandtabs(2)).replace(" = ", "=").replace('"', "'")
    build.file("BUILD.ml", "# a comment\n\n" + text)


def reordered_glob(build: Build) -> None:
    """Create the same files in another order, so that the file system lists them differently."""
    folder = build.root / "app/extra"
    shutil.rmtree(folder)
    for name in ("b", "a"):
        build.file(f"app/extra/{name}.txt", name)


def moved_macro(build: Build) -> None:
    build.file("macros/BUILD.ml", "").file("macros/all.bzl", "# moved\n" + MACRO)
    build.edit("BUILD.ml", "//tools:defs.bzl", "//macros:all.bzl")


def unused_variable(build: Build) -> None:
    build.env |= {
        "LANG": "de_DE.UTF-8",
        "HOSTNAME": "elsewhere",
        "CUDA_HOME": "/nowhere",
        "FOO": "1",
    }


MISSES: dict[str, Mutation] = {
    # sources
    "a byte of the script": edit("app/main.py", "argv[1:3]", "argv[1:2]"),
    "a comment in the script": write("app/main.py", MAIN + "# more\n"),
    "a byte of an imported module": edit("app/helper.py", "VALUE = deep", "VALUE = 1 + deep"),
    "a byte of a transitively imported module": edit("app/deep.py", "7", "8"),
    "a byte of a file that a glob matches": write("app/extra/a.txt", "A"),
    "a file added to a glob": write("app/extra/c.txt", "c"),
    "a file removed from a glob": delete("app/extra/b.txt"),
    "a file renamed in a glob": move("app/extra/b.txt", "app/extra/z.txt"),
    "two files swapped": both(write("app/extra/a.txt", "b"), write("app/extra/b.txt", "a")),
    "a byte moved from one file to the next": both(
        write("app/extra/a.txt", ""), write("app/extra/b.txt", "ab")
    ),
    "an executable bit set": mode("app/run.sh", 0o755),
    "a file emptied": write("app/run.sh", ""),
    "a trailing newline": write("app/extra/a.txt", "a\n"),
    "a source replaced by a link to other bytes": link("app/extra/a.txt", "b.txt"),
    # data
    "a byte of a data file": edit("data/table.csv", "3,4", "3,5"),
    "two lines of a data file swapped": write("data/table.csv", "3,4\n1,2\n"),
    "a byte of a file in a data folder": write("data/images/0/a.png", b"\x88a"),
    "a file added to a data folder": write("data/images/1/c.png", b"c"),
    "a file removed from a data folder": delete("data/images/1/b.png"),
    "a file renamed in a data folder": move("data/images/1/b.png", "data/images/1/d.png"),
    "a file moved between data folders": move("data/images/1/b.png", "data/images/0/b.png"),
    "the target of a symlink in a data folder": link("data/images/0/link.png", "../1/b.png"),
    "a symlink replaced by a copy": both(
        delete("data/images/0/link.png"), write("data/images/0/link.png", b"\x89a")
    ),
    "an executable bit in a data folder": mode("data/images/1/b.png", 0o755),
    "an empty folder in a data folder": lambda build: (build.root / "data/images/2").mkdir(),
    "the output of a dependency": edit("made.in", "made", "mode"),
    # parameters
    "a param: 0.1 to 0.2": rule('"lr": 0.1', '"lr": 0.2'),
    "a param: a digit far behind the point": rule('"lr": 0.1', '"lr": 0.1000000000000001'),
    "a param: 1 to 1.0": rule('"epochs": 1', '"epochs": 1.0'),
    "a param: 1 to True": rule('"epochs": 1', '"epochs": True'),
    "a param: 1 to '1'": rule('"epochs": 1', '"epochs": "1"'),
    "a param: True to False": rule('"flag": True', '"flag": False'),
    "a param: True to 1": rule('"flag": True', '"flag": 1'),
    "a param: True to None": rule('"flag": True', '"flag": None'),
    "a param: a letter": rule('"name": "a"', '"name": "b"'),
    "a param: a space": rule('"name": "a"', '"name": "a "'),
    "a param: nested": rule("[1, 2]", "[1, 3]"),
    "a param: order in a list": rule("[1, 2]", "[2, 1]"),
    "a param: nested one level more": rule("[1, 2]", "[[1, 2]]"),
    "a param: a list emptied": rule("[1, 2]", "[]"),
    "a param: a list to a dict": rule("[1, 2]", "{}"),
    "a param added": rule('"flag": True', '"flag": True, "more": 0'),
    "a param removed": rule('"flag": True, ', ""),
    "a param renamed": rule('"flag": True', '"flog": True'),
    # the command
    "an argument": rule('"two words"', '"two word"'),
    "an argument split in two": rule('"two words"', '"two", "words"'),
    "an argument added": rule('"two words"', '"two words", ""'),
    "two arguments swapped": rule('"--lr", "$(param lr)"', '"$(param lr)", "--lr"'),
    "a dollar sign in an argument": rule('"two words"', '"two$$words"'),
    "an environment variable's value": rule('"MODE": "fast"', '"MODE": "slow"'),
    "an environment variable's name": rule('"MODE": "fast"', '"MODES": "fast"'),
    "an environment variable added": rule('"MODE": "fast"', '"MODE": "fast", "B": ""'),
    "an environment variable removed": rule('"MODE": "fast"', ""),
    "the name of an input": rule('"table": "//', '"tables": "//'),
    "two inputs' names swapped": both(
        rule('"table": "//data:table"', '"table": "//data:pictures"'),
        rule('"images": "//data:pictures"', '"images": "//data:table"'),
    ),
    "an input removed": rule('"made": ":made"', ""),
    "the seed": rule("seed = 1", "seed = 2"),
    "cpus": rule('"cpus": 1', '"cpus": 2'),
    "the network on": rule("seed = 1", "seed = 1, network = True"),
    "an output renamed": both(
        rule("(output out.json)", "(output o.json)"), rule('["out.json"]', '["o.json"]')
    ),
    "an output added": rule('outs = ["out.json"]', 'outs = ["out.json"], out_trees = ["more"]'),
    "an output declared as metrics": rule(
        'outs = ["out.json"]', 'outs = ["out.json"], metrics = "m.json"'
    ),
    "the script under another name": both(
        move("app/main.py", "app/train.py"),
        rule('script = "app/main.py"', 'script = "app/train.py"'),
    ),
    # the environment and the tools
    "a wheel's version": wheel_version("2.0"),
    "a wheel's bytes under the same version": wheel_with("VALUE = 3\n"),
    "no environment": both(
        rule('    environment = ":env",\n', ""), edit("app/main.py", "helper, tiny", "helper")
    ),
    "a byte of a tool of the rules": other_rules,
    "the salt": caller("MLBUILD_SALT", "x"),
}

# These cannot finish: the script fails over what was taken from it. That it ran is what counts.
FAILING = {"no environment", "an output added", "an output declared as metrics"}

HITS: dict[str, Mutation] = {
    "nothing": both(),
    "the mtime of the script, older": touch("app/main.py", 1e9),
    "the mtime of the script, in the future": touch("app/main.py", 4e9),
    "the mtime of data": touch("data/table.csv", 1.5e9),
    "the mtime of a folder": touch("data/images", 1.5e9),
    "the script written again, same bytes": write("app/main.py", MAIN),
    "a group's write bit": mode("app/main.py", 0o664),
    "a file readable by its owner alone": mode("data/table.csv", 0o600),
    "the order of a dict of params": rule('"lr": 0.1, "epochs": 1', '"epochs": 1, "lr": 0.1'),
    "the order of a dict of inputs": rule(
        '"table": "//data:table", "images": "//data:pictures"',
        '"images": "//data:pictures", "table": "//data:table"',
    ),
    "the order of attributes": both(
        rule("    seed = 1,\n", ""),
        rule('(\n    name = "subject"', '(\n    seed = 1, name = "subject"'),
    ),
    "the order of glob patterns": rule(
        '["app/*.py", "app/extra/*.txt"]', '["app/extra/*.txt", "app/*.py"]'
    ),
    "files of a glob in another order": reordered_glob,
    "a glob written as a list": rule(
        'glob(["app/*.py", "app/extra/*.txt"], exclude = ["app/main.py"])',
        '["app/deep.py", "app/helper.py", "app/extra/a.txt", "app/extra/b.txt"]',
    ),
    "a file that no glob matches": write("app/extra/notes.md", "notes"),
    "tags": rule('["nightly"]', '["weekly", "slow"]'),
    "the timeout": rule('"100s"', '"2h"'),
    "the memory": rule('"512Mi"', '"1Gi"'),
    "a param: 0.1 to 0.10": rule('"lr": 0.1', '"lr": 0.10'),
    "a param: 0.1 to 1e-1": rule('"lr": 0.1', '"lr": 1e-1'),
    "a param computed": rule('"epochs": 1', '"epochs": 3 - 2'),
    "an unused target": rule('name = "other"', 'name = "another"'),
    "another target's source": write("other.txt", "y"),
    "a package that nothing needs": write(
        "more/BUILD.ml", 'genrule(name = "x", outs = ["x"], cmd = "touch $@")'
    ),
    "a comment in BUILD.ml": rule("python_environment(", "# why\npython_environment("),
    "a reformatted BUILD.ml": reformatted,
    "a macro moved to another file": moved_macro,
    "a comment in a macro's file": write("tools/defs.bzl", "# comment\n" + MACRO),
    "a dependency that makes the same bytes": edit("made.in", "made", "MADE"),
    "a dependency with another command, same bytes": rule("tr a-z A-Z < $<", "cat $< | tr a-z A-Z"),
    "a comment in the lock": edit("requirements.lock", "# made by hand", "# by another hand"),
    "variables of the caller": unused_variable,
    "the caller's time zone": caller("TZ", "Asia/Tokyo"),
    "the caller's umask and home": caller("HOME", "/nonexistent"),
    "jobs": caller("MLBUILD_JOBS", "1"),
    "the workspace's name": edit("mlbuild.toml", '"test"', '"renamed"'),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return the workspace, built once; its cache is copied with it for every mutation."""
    folder = tmp_path_factory.mktemp("keys")
    build = make(folder / "workspace", cache=folder / "cache", wheels=folder / "wheels")
    assert "//:subject" in build("//:subject").ran
    return build


@pytest.fixture
def subject(built: Build, tmp_path: Path) -> Iterator[Build]:
    """Return a copy of the built workspace at another path, with a copy of its cache."""
    cache = tmp_path / "cache"
    shutil.copytree(built.cache, cache, symlinks=True)
    yield built.copy(tmp_path / "workspace", cache=cache)
    for folder, _, _ in os.walk(cache):
        os.chmod(folder, 0o700)


@pytest.mark.parametrize("mutation", MISSES)
def test_a_change_that_may_matter_misses(subject: Build, mutation: str) -> None:
    MISSES[mutation](subject)

    done = subject.run("build", "--json", "//:subject")

    assert done.code == (1 if mutation in FAILING else 0), done.stderr
    report = json.loads(done.stdout)
    assert "//:subject" in report["failed" if mutation in FAILING else "ran"]


@pytest.mark.parametrize("mutation", HITS)
def test_a_change_that_cannot_matter_hits(subject: Build, mutation: str) -> None:
    HITS[mutation](subject)

    assert "//:subject" in subject("//:subject").cached


def test_there_are_enough_of_both() -> None:
    assert len(MISSES) >= 60
    assert len(HITS) >= 30
