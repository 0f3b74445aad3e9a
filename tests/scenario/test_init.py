"""`mlbuild init` and `mlbuild new`: what they write builds at once; what is there stays."""

import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.harness import REPOSITORY, Build, Finished

TEMPLATES = REPOSITORY / "mlbuild/templates"


class Fresh(Build):
    """A folder that is no workspace yet."""

    def __init__(self, root: Path, *, cache: Path) -> None:
        super().__init__(root, cache=cache)
        (root / "mlbuild.toml").unlink()


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    return Fresh(tmp_path / "my digits", cache=tmp_path / "cache")


@pytest.fixture
def begun(build: Build) -> Build:
    """Return a workspace with an environment that has no packages."""
    build.file("requirements.lock", "# none\n")
    build.file("BUILD.ml", 'python_environment(name = "env", lock = "requirements.lock")')
    return build


def files(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, but those that mlbuild keeps."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"mlbuild-out", ".mlbuild"} & set(path.parts)
    }


# init


@pytest.mark.parametrize(
    ("template", "targets", "measured"),
    [
        (
            "digits",
            ["//:env", "//data:digits", "//data:digits_test", "//models:mlp", "//models:mlp_eval"],
            "//models:mlp_eval",
        ),
        (
            "sklearn",
            ["//:env", "//data:digits", "//models:logistic", "//models:logistic_eval"],
            "//models:logistic_eval",
        ),
    ],
)
def test_a_new_workspace_builds_at_once_and_then_runs_nothing(
    fresh: Fresh, template: str, targets: list[str], measured: str
) -> None:
    done = fresh.run("init", "--template", template)
    assert done.code == 0, done.stderr
    before = files(fresh.root)

    first = fresh("//...")

    assert sorted(first.ran + first.cached) == targets
    assert first.report["metrics"][measured]["accuracy"] >= 0.9
    assert fresh("//...").ran == []
    assert files(fresh.root) == before
    assert "next: mlbuild //..." in done.stderr
    assert all(f"  {path}\n" in done.stdout for path in before)
    assert fresh.run("config").stdout.startswith('workspace.name     = "my digits"')


def test_the_torch_template_has_a_sound_lock_and_targets(fresh: Fresh) -> None:
    assert fresh.run("init", "--template", "torch").code == 0

    locked = subprocess.run(
        [sys.executable, "-I", REPOSITORY / "rules/tools/lock.py", "requirements.lock", "out.txt"],
        cwd=fresh.root,
        capture_output=True,
        text=True,
        check=False,
    )
    would = fresh.run("--dry-run", "//...")

    assert locked.returncode == 0, locked.stderr
    assert "torch==" in (fresh.root / "out.txt").read_text()
    assert would.code == 0, would.stderr
    for label in ("//:env", "//models:cnn", "//models:cnn_eval"):
        assert f"would run {label} " in would.stdout


def test_a_folder_is_made_when_it_is_not_there(fresh: Fresh) -> None:
    done = fresh.run("init", "a/b c", "--json")

    report = json.loads(done.stdout)
    assert report["workspace"] == str(fresh.root / "a/b c")
    assert report["template"] == "digits"
    assert report["next"] == "cd 'a/b c' && mlbuild //..."
    assert report["written"] == sorted(files(fresh.root / "a/b c"))
    assert 'name = "b c"' in (fresh.root / "a/b c/mlbuild.toml").read_text()


def test_init_in_a_workspace_is_refused(fresh: Fresh) -> None:
    fresh.run("init")
    before = files(fresh.root)

    again, below = fresh.run("init"), fresh.run("init", "below")

    assert again.code == below.code == 2
    assert f"`{fresh.root}` is a workspace already" in again.stderr
    assert f"`{fresh.root}/below` lies in the workspace `{fresh.root}`" in below.stderr
    assert "hint: `mlbuild new train NAME`" in again.stderr
    assert files(fresh.root) == before


def test_files_in_the_way_are_named_and_nothing_is_written(fresh: Fresh) -> None:
    fresh.file("models/train.py", "mine").file("data", "mine too")
    before = files(fresh.root)

    done = fresh.run("init")

    assert done.code == 2
    assert "`data`, `models/train.py` would be overwritten" in done.stderr
    assert "nothing was changed" in done.stderr
    assert files(fresh.root) == before


def test_what_a_folder_has_already_is_kept_and_added_to(fresh: Fresh) -> None:
    fresh.file("README.md", "mine").file(".vscode/settings.json", "{}")
    fresh.file(".gitignore", "*.log\n/mlbuild-out").file(".gitattributes", "*.gz binary\n")

    done = fresh.run("init")

    found = files(fresh.root)
    assert done.code == 0
    assert found["README.md"] == b"mine"
    assert found[".vscode/settings.json"] == b"{}"
    assert "README.md was there already and stays as it is" in done.stderr
    assert found[".gitignore"].decode().splitlines() == [
        *("*.log", "/mlbuild-out", ".mlbuild/", "mlbuild.local.toml", "__pycache__/")
    ]
    assert found[".gitattributes"] == b"*.gz binary\nBUILD.ml linguist-language=Starlark\n"


def test_a_failure_half_way_leaves_everything_as_it_was(fresh: Fresh) -> None:
    fresh.file(".gitignore", "*.log")
    before = files(fresh.root)

    def limit() -> None:  # no file may be larger, so the data cannot be written
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = subprocess.run(
        fresh.command("init"),
        cwd=fresh.root,
        env=fresh.environment(),
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )

    assert done.returncode == 36, done.stderr
    assert "cannot write" in done.stderr
    assert "nothing was changed" in done.stderr
    assert files(fresh.root) == before
    assert sorted(os.listdir(fresh.root)) == [".gitignore"]


def test_an_unknown_template_is_named_with_the_near_one(fresh: Fresh) -> None:
    done = fresh.run("--template", "skleran", "init")

    assert done.code == 2
    assert "there is no template `skleran`" in done.stderr
    assert "did you mean `sklearn`?" in done.stderr
    assert files(fresh.root) == {}


def test_the_wheel_holds_every_file_of_the_templates(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {path for path in files(TEMPLATES) if "__pycache__" not in path}
    assert {f"mlbuild/templates/{path}" for path in ours} <= names
    assert "mlbuild/py.typed" in names


# new


def added(build: Build, *words: str, cwd: Path | None = None) -> Finished:
    done = build.run("new", *words, cwd=cwd)
    assert done.code == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "rule", ["train", "evaluate", "process", "dataset", "genrule", "sweep", "python_environment"]
)
def test_a_new_target_of_any_rule_builds_at_once(begun: Build, rule: str) -> None:
    done = added(begun, rule, "fresh", "--package", "some/where")

    build = begun("//some/where:fresh")

    assert "added //some/where:fresh to some/where/BUILD.ml" in done.stdout
    assert "next: mlbuild //some/where:fresh" in done.stderr
    assert "//some/where:fresh" in build.ran + build.cached
    assert begun("//...").code == 0


def test_targets_are_appended_to_what_is_there(begun: Build) -> None:
    begun.file("models/BUILD.ml", "# mine\nX = 1 # no line end").file("models/train.py", "mine")

    added(begun, "train", "first", cwd=begun.root / "models")
    added(begun, "train", "//models:second")
    added(begun, "evaluate", "check", "--package", "//models")

    text = (begun.root / "models/BUILD.ml").read_text()
    assert text.startswith("# mine\nX = 1 # no line end\n\ntrain(\n")
    assert (begun.root / "models/train.py").read_text() == "mine"
    assert (begun.root / "models/train_second.py").is_file()
    assert text.count('environment = "//:env"') == 3
    assert "# model = " in text  # there are two: which one is meant?
    assert begun("//models:all").code == 0


def test_an_evaluation_measures_the_one_training_of_its_package(begun: Build) -> None:
    added(begun, "train", "lenet")
    done = json.loads(added(begun, "evaluate", "check", "--json").stdout)

    assert done == {
        "label": "//:check",
        "file": "BUILD.ml",
        "written": ["evaluate.py"],
        "next": "mlbuild //:check",
    }
    assert begun("//:check").report["metrics"]["//:check"]["bytes"] > 0


def test_without_an_environment_the_line_is_a_comment(build: Build) -> None:
    added(build, "train", "lenet")

    assert "    # environment = " in (build.root / "BUILD.ml").read_text()
    assert build("//:lenet").ran == ["//:lenet"]


def test_a_broken_package_elsewhere_does_not_matter(begun: Build) -> None:
    begun.file("broken/BUILD.ml", "train(")

    added(begun, "train", "lenet", "--package", "models")

    assert begun("//models:lenet").code == 0


def test_a_notebook_runs_in_the_environment_that_there_is(begun: Build) -> None:
    done = added(begun, "notebook", "explore", "--package", "notes")

    text = (begun.root / "notes/BUILD.ml").read_text()
    assert 'environment = "//:env"' in text
    assert json.loads((begun.root / "notes/explore.ipynb").read_text())["nbformat"] == 4
    assert "`nbclient` and `ipykernel`" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian", "x"], "did you mean `train`?"),
        (["train"], "a new target needs a rule and a name"),
        (["train", "env"], "`//:env` is taken\n --> BUILD.ml:1:1"),
        (["train", "a/b"], "holds a `/`"),
        (["train", "x", "--package", ".."], "is not in the workspace"),
        (["train", "x", "--package", "mlbuild-out/x"], "`mlbuild-out` is never looked at"),
        (["train", "x", "--package", "inner"], "is a workspace of its own"),
        (["train", "//broken:x"], "broken/BUILD.ml:1:"),
        (["train", "//file:x"], "`file` is in the way"),
    ],
)
def test_a_target_that_cannot_be_added_changes_nothing(
    begun: Build, words: list[str], said: str
) -> None:
    begun.file("inner/mlbuild.toml").file("broken/BUILD.ml", "train(").file("file")
    before = files(begun.root)

    done = begun.run("new", *words)

    assert done.code == 2
    assert said in done.stderr
    assert files(begun.root) == before


def test_a_notebook_needs_an_environment(build: Build) -> None:
    done = build.run("new", "notebook", "explore")

    assert done.code == 2
    assert "a notebook needs a python_environment, and the workspace has none" in done.stderr
    assert "`mlbuild new python_environment env`" in done.stderr
