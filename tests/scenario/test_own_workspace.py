"""mlbuild's own repository is a workspace: its reference, its examples' reports, its benchmarks."""

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mlbuild.query.functions import FUNCTIONS
from tests.harness import REPOSITORY, Build

PARTS = ("mlbuild", "rules", "docs", "bench", "examples")
FILES = ("mlbuild.toml", "BUILD.ml", "requirements.in", "requirements.lock", ".gitignore")
REPORTS = ["//examples/notebook:report", "//examples/paper:paper", "//examples/sweep:report"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a copy of the repository, as far as its targets need it."""
    root = tmp_path_factory.mktemp("own") / "mlbuild"
    root.mkdir()
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild", "__pycache__", "image.tar")
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, root / part, ignore=ignored, symlinks=True)
    for name in FILES:
        shutil.copy(REPOSITORY / name, root / name)
    return Build(root, cache=root.parent / "cache")


def test_the_reference_is_what_the_program_says_and_what_is_committed(repository: Build) -> None:
    repository("//docs:reference", "//docs:rules_are_current")

    rules = repository.output("docs/reference/rules.md")
    commands = repository.output("docs/reference/commands.md")
    queries = repository.output("docs/reference/queries.md")

    assert rules == (REPOSITORY / "docs/rules.md").read_text()
    assert "\n## ci\n" in commands
    assert "--junit FILE" in commands
    assert all(f"| `{name}(" in queries for name in FUNCTIONS)


def test_a_page_of_rules_that_is_not_current_fails_a_target(
    repository: Build, tmp_path: Path
) -> None:
    other = repository.copy(tmp_path / "other")
    other.edit("docs/rules.md", "# Rules", "# Old rules")

    done = other("//docs:rules_are_current", code=1)

    assert done.failed == ["//docs:rules_are_current"]
    assert "run: mlbuild help --markdown > docs/rules.md" in done.stderr


def test_the_newest_benchmarks_become_a_page_with_plots(repository: Build) -> None:
    repository("//bench:report", "//bench:figures")

    page = repository.output("bench/report/report.html")
    measured = json.loads((REPOSITORY / "docs/benchmarks.json").read_text())["figures"]

    assert page.count('src="data:image/svg+xml;base64,') == 2
    assert all(one["peer"] in page for one in measured)
    plots = sorted((repository.root / "mlbuild-out/bench/figures/plots").iterdir())
    bars = [
        ET.parse(plot).getroot().iter("{http://www.w3.org/2000/svg}rect")  # noqa: S314 - ours
        for plot in plots
    ]
    assert sum(len(list(one)) for one in bars) == len(measured)


def test_the_reports_of_the_examples_are_built_from_here(repository: Build) -> None:
    planned = repository.run("--dry-run", "//examples:reports")
    repository("//examples/paper")

    queried = repository.run("query", "kind(report, deps(//examples:reports))")

    assert planned.code == 0, planned.stderr
    assert queried.stdout.splitlines() == REPORTS
    assert "300 handwritten digits" in repository.output("examples/paper/paper/report.md")


def test_nothing_is_wrong_in_the_files_of_this_repository(repository: Build) -> None:
    strict = repository.run("check", "--strict")
    laid_out = repository.run("fmt", "--check", "BUILD.ml", "docs", "bench", "examples/BUILD.ml")

    assert strict.code == 0, strict.stderr + strict.stdout
    assert laid_out.code == 0, laid_out.stderr


def test_the_examples_stay_workspaces_of_their_own(repository: Build) -> None:
    found = repository.run("query", "//...").stdout.splitlines()

    assert not [label for label in found if label.startswith("//examples/")]
    assert {"//docs:reference", "//examples:reports", "//bench:report"} <= set(found)


def test_what_mlbuild_makes_is_not_committed() -> None:
    paths = [".mlbuild/x", "mlbuild-out/x", "examples/paper/mlbuild-out/x"]

    done = subprocess.run(
        ["git", "check-ignore", *paths], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    if done.returncode == 128:
        pytest.skip("this is no checkout of git")
    assert done.stdout.split() == paths
