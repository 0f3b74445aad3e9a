"""After any edits, a watch that has come to rest shows what a cold build of the same files gives.

`make test-watch` does it with 1,000 scripts of edits; `WATCH_SEED` chooses others.
"""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness import Build
from tests.watching import Watching, watching

SCRIPTS = int(os.environ.get("WATCH_SCRIPTS", "20"))
SEED = int(os.environ.get("WATCH_SEED", "1"))
CAT = "(cat $(SRCS) /dev/null || true) > $@"
PACKAGES = ("", "data", "models", "deep/down")
ANY = 'glob(["*.csv"], allow_empty = True)'
DEEP = 'glob(["**/*.csv"], allow_empty = True)'
TREE = 'glob(["tree/**"], allow_empty = True)'
BUILD_FILES = (
    f'genrule(name = "all", srcs = {ANY}, outs = ["all.txt"], cmd = "{CAT}")\n',
    f'genrule(name = "all", srcs = {DEEP}, outs = ["all.txt"], cmd = "{CAT}")\n',
    f'genrule(name = "good", srcs = {DEEP}, outs = ["it"], cmd = "grep -v bad $(SRCS) > $@")\n',
    f'genrule(name = "under", srcs = {TREE}, outs = ["it"], cmd = "{CAT}")\nprint("hello")\n',
    'genrule(name = "deep", srcs = ["tree"], outs = ["it"], cmd = "find $(SRCS) | sort > $@")\n',
    'load("//tools:defs.bzl", "text")\ntext(name = "text")\n',
    f'genrule(name = "far", srcs = ["//data:all"], outs = ["far.txt"], cmd = "{CAT}")\n',
    "",
    "genrule(\n",
)
WEIGHTS = (6, 6, 6, 6, 2, 4, 1, 1, 1)
MODULES = (
    *['def text(name):\n    genrule(name = name, outs = [name + ".txt"], cmd = "echo {0} > $@")\n']
    * 4,
    'WORD = "{0}"\n',
)
SETTINGS = ("", *['[build]\nsalt = "{0}"\n'] * 3, "[build\n")


class Editor:
    """Edits a workspace at random, in the ways in which people and programs do."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self._root = root
        self._rng = rng
        self._count = 0
        self.done: list[str] = []

    def heal(self) -> None:
        """Undo what keeps anything from being built."""
        for place in self._root.glob("**/BUILD.ml"):
            place.write_text(self._rng.choice(BUILD_FILES[:4]))
        for place in self._root.glob("**/*.csv"):
            if not place.exists():
                place.unlink()
        (self._root / "mlbuild.local.toml").unlink(missing_ok=True)
        self.done.append("heal")

    def edit(self) -> None:
        """Do something."""
        acts: list[Callable[[], str]] = [
            *[self._save] * 4,
            *[self._declare] * 2,
            *(self._delete, self._move_file, self._module, self._settings, self._tree),
            *(self._move_folder, self._swap_folders, self._remove_folder, self._link, self._touch),
        ]
        self.done.append(self._rng.choice(acts)())

    def _text(self) -> str:
        self._count += 1
        return f"{self._rng.choice(['bad', 'good', 'same'])} {self._rng.choice([1, self._count])}\n"

    def _place(self, package: str, name: str) -> Path:
        place = self._root / package / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _any(self, pattern: str) -> Path | None:
        found = sorted(path for path in self._root.glob(pattern) if "mlbuild-out" not in path.parts)
        return self._rng.choice(found) if found else None

    def _write(self, place: Path, text: str) -> str:
        """Write a file in one of the ways that there are."""
        how = self._rng.choice(["rename", "truncate", "pieces"])
        if place.is_symlink() and not place.exists():  # nothing can be written there
            place.unlink()
        if how == "rename":
            aside = place.with_name(f".{place.name}.swp")
            aside.write_text(text)
            aside.rename(place)
        elif how == "truncate":
            place.write_text(text)
        else:
            with place.open("w") as file:
                for letter in text:
                    file.write(letter)
                    file.flush()
        return f"{how} {place.relative_to(self._root)}"

    def _save(self) -> str:
        name = self._rng.choice(["a.csv", "b.csv", "sub/c.csv"])
        return self._write(self._place(self._rng.choice(PACKAGES), name), self._text())

    def _declare(self) -> str:
        place = self._place(self._rng.choice(PACKAGES), "BUILD.ml")
        return self._write(place, self._rng.choices(BUILD_FILES, WEIGHTS)[0])

    def _delete(self) -> str:
        if (place := self._any("**/*.csv") or self._any("**/BUILD.ml")) is None:
            return "nothing"
        place.unlink()
        return f"delete {place}"

    def _move_file(self) -> str:
        place = self._any("**/*.csv")
        if place is None:
            return "nothing"
        place.rename(place.with_name(self._rng.choice(["a.csv", "b.csv", "z.csv", "z.txt"])))
        return f"move {place}"

    def _module(self) -> str:
        self._place("tools", "BUILD.ml").touch()
        text = self._rng.choice(MODULES).format(self._text().strip())
        return self._write(self._place("tools", "defs.bzl"), text)

    def _settings(self) -> str:
        text = self._rng.choice(SETTINGS).format(self._text().strip())
        return self._write(self._root / "mlbuild.local.toml", text)

    def _tree(self) -> str:
        name = self._rng.choice(["tree/x", "tree/y", "tree/under/z"])
        return self._write(self._place(self._rng.choice(PACKAGES), name), self._text())

    def _move_folder(self) -> str:
        place = self._root / self._rng.choice(PACKAGES[1:])
        to = self._root / self._rng.choice(["moved", "deep/moved", *PACKAGES[1:]])
        if not place.is_dir() or to.exists() or not to.parent.is_dir():
            return "nothing"
        place.rename(to)
        return f"move {place} to {to}"

    def _swap_folders(self) -> str:
        one, other = self._root / "data", self._root / "models"
        if not (one.is_dir() and other.is_dir()):
            return "nothing"
        one.rename(self._root / "aside")
        other.rename(one)
        (self._root / "aside").rename(other)
        return "swap"

    def _remove_folder(self) -> str:
        place = self._root / self._rng.choice([*PACKAGES[1:], "moved", "deep", "tools", "tree"])
        shutil.rmtree(place, ignore_errors=True)
        return f"remove {place}"

    def _link(self) -> str:
        place = self._place(self._rng.choice(PACKAGES), "a.csv")
        place.unlink(missing_ok=True)
        place.symlink_to(self._rng.choice(["b.csv", "sub/c.csv"]))
        return f"link {place}"

    def _touch(self) -> str:
        if (place := self._any("**/*.csv") or self._any("**/BUILD.ml")) is None:
            return "nothing"
        if place.exists():
            os.utime(place)
            place.chmod(self._rng.choice([0o644, 0o755]))
        return f"touch {place}"


def cold(build: Build, scratch: Path) -> dict[str, Any]:
    """Return what a build of a copy of the files gives."""
    shutil.rmtree(scratch, ignore_errors=True)
    copy = build.copy(scratch, cache=scratch.parent / "cold-cache")
    done = copy.run("build", "--json", "-k", "//...")
    if not done.stdout:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return {"exit_code": done.code, "error": errors[0].removeprefix("error: ")}
    return state({**json.loads(done.stdout), "exit_code": done.code}, scratch)


def state(report: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return what a report amounts to, with the bytes of its outputs."""
    if "error" in report:
        return {"exit_code": report["exit_code"], "error": report["error"]}
    paths = sorted({path for made in report["outputs"].values() for path in made})
    return {
        "exit_code": report["exit_code"],
        "targets": sorted(report["ran"] + report["cached"]),
        "failed": sorted(report["failed"]),
        "files": {path: content(root / path) for path in paths},
    }


def content(path: Path) -> object:
    if path.is_dir():
        return sorted((str(one.relative_to(path)), one.read_text()) for one in path.glob("**/*.*"))
    return path.read_text() if path.exists() else None


def comes_to(watch: Watching, expected: dict[str, Any], root: Path) -> bool:
    """Say whether what the watch shows now is what is expected."""
    reports = watch.reports
    try:
        return bool(reports) and state(reports[-1], root) == expected
    except (OSError, UnicodeDecodeError):  # just being linked anew
        return False


def test_a_watch_at_rest_shows_what_a_cold_build_gives(build: Build) -> None:
    rng = random.Random(SEED)  # noqa: S311 - no secret
    editor = Editor(build.root, rng)
    build.file("data/BUILD.ml", BUILD_FILES[0]).file("data/a.csv", "good\n")
    failures: list[int] = []
    with watching(build, "-k", "//...") as watch:
        for number in range(SCRIPTS):
            editor.done.clear()
            if failures and failures[-1] == 2:  # else most states would be alike: broken
                editor.heal()
            for _ in range(rng.randint(1, 4)):
                editor.edit()
                time.sleep(rng.choice([0, 0, 0.02, 0.25]))  # into the midst of what it does
            expected = cold(build, build.root.parent / "cold")

            what = f"as a cold build after script {number}: {editor.done}\n{expected}"
            watch.until(lambda wanted=expected: comes_to(watch, wanted, build.root), what)
            failures.append(expected["exit_code"])

    assert 0 in failures  # else they would all be alike
    assert len(set(failures)) > 1
