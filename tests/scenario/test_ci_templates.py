"""What `mlbuild init --ci` writes: files that parse, and shell parts that do what they say."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlbuild.git.ci.markdown import comment
from mlbuild.git.ci.report import Report
from tests.harness import REPOSITORY, Build

TEMPLATES = REPOSITORY / "mlbuild/templates/ci"
ACTION = REPOSITORY / ".github/actions/mlbuild"
SCRIPTS = sorted(path.name for path in (TEMPLATES / "github").glob("*.sh"))
GITHUB = [
    ".github/actions/mlbuild/action.yml",
    ".github/actions/mlbuild/build.sh",
    ".github/actions/mlbuild/comment.sh",
    ".github/actions/mlbuild/install.sh",
    ".github/workflows/mlbuild.yml",
]
# Stands for a program: keeps its words, a line each call, then does what the test says.
FAKE = """#!/bin/sh
for word in "$@"; do printf '%s\\037' "$word"; done >>"$FAKES/NAME.calls"
echo >>"$FAKES/NAME.calls"
"""


class Programs:
    """Programs of our own on the PATH of a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, name: str, body: str = "") -> "Programs":
        place = self.folder / name
        place.write_text(FAKE.replace("NAME", name) + body)
        place.chmod(0o755)
        return self

    def calls(self, name: str) -> list[list[str]]:
        """Return the words of each call of a program."""
        place = self.folder / f"{name}.calls"
        text = place.read_text() if place.exists() else ""
        return [line.split("\037")[:-1] for line in text.splitlines()]

    def run(self, script: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": f"{self.folder}:/usr/bin:/bin", "FAKES": str(self.folder), **variables}
        return subprocess.run(
            ["sh", str(ACTION / script)], env=env, capture_output=True, text=True, check=False
        )


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# init


def test_a_workspace_that_is_there_gets_the_files_of_github_and_nothing_else(
    build: Build,
) -> None:
    (build.root / ".git").mkdir()
    before = {path for path in build.root.rglob("*") if path.is_file()}

    done = build.run("init", "--ci", "github", "--json")

    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["written"] == GITHUB
    new = {path for path in build.root.rglob("*") if path.is_file()} - before
    assert new == {build.root / path for path in GITHUB}
    again = build.run("init", "--ci", "github")
    assert again.code == 0
    assert "already" in again.stderr


@pytest.mark.parametrize(
    ("kind", "path"), [("github", GITHUB[4]), ("github", GITHUB[0]), ("gitlab", ".gitlab-ci.yml")]
)
def test_no_file_is_overwritten_and_then_none_is_written(
    build: Build, kind: str, path: str
) -> None:
    build.file(path, "mine: true\n")

    done = build.run("init", "--ci", kind)

    assert done.code == 2
    assert f"`{path}` would be overwritten" in done.stderr
    assert (build.root / path).read_text() == "mine: true\n"
    assert sorted(one.name for one in build.root.rglob("*.sh")) == []


def test_a_workspace_below_its_repository_is_named_in_files_at_the_top(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    build = Build(tmp_path / 'models/my "net"', cache=tmp_path / "cache")

    for kind in ("github", "gitlab"):
        assert build.run("init", "--ci", kind).code == 0

    workflow = loaded(tmp_path / ".github/workflows/mlbuild.yml")
    assert workflow["jobs"]["build"]["steps"][1]["with"]["folder"] == 'models/my "net"'
    pipeline = loaded(tmp_path / ".gitlab-ci.yml")
    assert pipeline["mlbuild"]["variables"]["WORKSPACE_FOLDER"] == 'models/my "net"'


def test_a_new_workspace_gets_both(tmp_path: Path) -> None:
    build = Build(tmp_path / "w", cache=tmp_path / "cache")
    (build.root / "mlbuild.toml").unlink()

    done = build.run("init", "--ci", "gitlab")

    assert done.code == 0, done.stderr
    assert (build.root / ".gitlab-ci.yml").exists()
    assert (build.root / "models/train.py").exists()


def test_an_unknown_kind_of_pipeline_is_refused_with_what_there_is(build: Build) -> None:
    done = build.run("init", "--ci", "githib")

    assert done.code == 2
    assert "did you mean `github`?" in done.stderr


# the files


def test_the_action_of_this_repository_is_the_one_that_is_written() -> None:
    ours = {path.name: path.read_bytes() for path in ACTION.iterdir()}
    shipped = {path.name: path.read_bytes() for path in (TEMPLATES / "github").iterdir()}

    del shipped["workflow.yml"]

    assert ours == shipped


def test_every_step_of_the_action_names_its_shell_or_an_action_of_a_version() -> None:
    action = loaded(ACTION / "action.yml")

    steps = action["runs"]["steps"]

    assert action["runs"]["using"] == "composite"
    for step in steps:
        assert ("shell" in step) == ("run" in step)
        assert ("@v" in step["uses"]) if "uses" in step else step["run"].startswith("sh ")
    named = {one["run"].split("/")[-1].rstrip('"') for one in steps if "run" in one}
    assert named == set(SCRIPTS)
    # What comes from a pull request is never pasted into a script.
    assert not any("${{" in step.get("run", "") for step in steps)


def test_pull_requests_keep_no_results_and_only_protected_branches_are_trusted() -> None:
    steps = {step.get("name"): step for step in loaded(ACTION / "action.yml")["runs"]["steps"]}
    gitlab = loaded(TEMPLATES / "gitlab/gitlab-ci.yml")["mlbuild"]

    keeps = steps["Keep results for later jobs"]
    trust = steps["Build what is affected"]["env"]["MLBUILD_CACHE_WRITE"]
    rules = [one["variables"] for one in gitlab["rules"] if "variables" in one]

    assert "github.event_name == 'push'" in keeps["if"]
    assert keeps["uses"].startswith("actions/cache/save@")
    assert steps["Fetch results of earlier jobs"]["uses"].startswith("actions/cache/restore@")
    assert "github.event_name == 'push' && github.ref_protected" in trust
    assert [one["MLBUILD_CACHE_WRITE"] for one in rules] == ["never", "trusted", "never"]
    assert [one["MLBUILD_CACHE_POLICY"] for one in rules] == ["pull", "pull-push", "pull"]
    assert 'CI_COMMIT_REF_PROTECTED == "true"' in gitlab["rules"][1]["if"]


def test_workflows_fetch_the_history_and_ask_for_few_rights() -> None:
    for path in (TEMPLATES / "github/workflow.yml", REPOSITORY / ".github/workflows/ci.yml"):
        workflow = loaded(path)
        job = workflow["jobs"].get("build") or workflow["jobs"]["mlbuild"]
        checkout, action = job["steps"]
        rights = workflow["permissions"] | job.get("permissions", {})

        assert checkout["with"]["fetch-depth"] == 0
        assert action["uses"] == "./.github/actions/mlbuild"
        assert set(action["with"]) <= set(loaded(ACTION / "action.yml")["inputs"])
        assert rights == {"contents": "read", "pull-requests": "write"}
        assert "pull_request_target" not in path.read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_plain_shell(name: str) -> None:
    done = subprocess.run(["sh", "-n", str(ACTION / name)], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr


# the scripts at work


def posted(programs: Programs, folder: Path, *, text: str = "") -> Any:
    report = folder / "report.md"
    report.write_text(text or comment(Report("digits", "main")))
    variables = {"REPORT": str(report), "REPOSITORY": "us/digits", "NUMBER": "7", "GH_TOKEN": "t"}
    return programs.run("comment.sh", variables)


def test_the_first_report_becomes_a_comment(programs: Programs, tmp_path: Path) -> None:
    programs.add("gh")

    done = posted(programs, tmp_path)

    assert done.returncode == 0, done.stderr
    look, post = programs.calls("gh")
    assert look == [
        "api",
        "--paginate",
        "repos/us/digits/issues/7/comments?per_page=100",
        "--jq",
        '.[] | select(.body | startswith("<!-- mlbuild ci digits -->")) | .id',
    ]
    assert post == [
        *("api", "--silent", "--method", "POST", "repos/us/digits/issues/7/comments"),
        *("--field", f"body=@{tmp_path}/report.md"),
    ]


def test_later_reports_take_the_place_of_the_first(programs: Programs, tmp_path: Path) -> None:
    programs.add("gh", 'case "$*" in *--paginate*) printf "41\\n42\\n";; esac\n')

    posted(programs, tmp_path)

    _, edit = programs.calls("gh")
    assert edit[2:5] == ["--method", "PATCH", "repos/us/digits/issues/comments/41"]


@pytest.mark.parametrize("refused", ["--paginate", "POST"])
def test_a_token_that_may_not_comment_as_that_of_a_fork_fails_nothing(
    programs: Programs, tmp_path: Path, refused: str
) -> None:
    body = f'case "$*" in *{refused}*) echo "HTTP 403" >&2; exit 1;; esac\n'
    programs.add("gh", body)

    done = posted(programs, tmp_path)

    assert done.returncode == 0
    assert "::notice::the report is not a comment" in done.stdout


@pytest.mark.parametrize("text", ["no marker\n", '<!-- mlbuild ci x") | .evil, ("\n'])
def test_a_report_without_its_marker_is_not_posted(
    programs: Programs, tmp_path: Path, text: str
) -> None:
    programs.add("gh")

    done = posted(programs, tmp_path, text=text)

    assert done.returncode == 0
    assert programs.calls("gh") == []


def test_without_a_report_nothing_is_posted(programs: Programs, tmp_path: Path) -> None:
    programs.add("gh")

    done = programs.run("comment.sh", {"REPORT": f"{tmp_path}/none", "REPOSITORY": "a/b"})

    assert done.returncode == 0
    assert programs.calls("gh") == []


def test_the_build_passes_on_what_the_inputs_say_and_its_exit_code(
    programs: Programs, tmp_path: Path
) -> None:
    programs.add("mlbuild", "exit 3\n")
    variables = {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "INPUT_FOLDER": "my folder",
        "INPUT_BASE": "origin/dev",
        "INPUT_ARGUMENTS": "--config full -j 2",
        "INPUT_PATTERNS": "//... -//old/* //a:b",
    }

    done = programs.run("build.sh", variables)

    assert done.returncode == 3
    (call,) = programs.calls("mlbuild")
    reports = f"{tmp_path}/mlbuild"
    assert call == [
        *("ci", "-C", "my folder", "--report", f"{reports}/report.md"),
        *("--junit", f"{reports}/junit.xml", "--base", "origin/dev"),
        *("--config", "full", "-j", "2", "--", "//...", "-//old/*", "//a:b"),
    ]
    output = (tmp_path / "output").read_text().splitlines()
    assert output == [f"report={reports}/report.md", f"junit={reports}/junit.xml"]


def test_the_build_of_the_action_is_one_that_mlbuild_understands(
    programs: Programs, build: Build, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(build.root)], check=True)
    (build.root / "BUILD.ml").write_text('genrule(name = "a", outs = ["a"], cmd = "echo > $@")')
    subprocess.run(["git", "add", "-A"], cwd=build.root, check=True)
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, "commit", "-qm", "one"], cwd=build.root, check=True)
    command = " ".join(f'"{word}"' for word in build.command())
    programs.add("mlbuild", f'exec {command} "$@"\n')
    variables = {
        **{name: value for name, value in build.environment().items() if name != "PATH"},
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "schedule",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "INPUT_FOLDER": str(build.root),
        "INPUT_BASE": "",
        "INPUT_ARGUMENTS": "",
        "INPUT_PATTERNS": "//...",
    }

    done = programs.run("build.sh", variables)

    assert done.returncode == 0, done.stderr
    assert "1 target built" in (tmp_path / "mlbuild/report.md").read_text()
    assert "1 target built" in (tmp_path / "summary.md").read_text()


def test_the_installation_takes_the_package_that_is_named(
    programs: Programs, tmp_path: Path
) -> None:
    programs.add("uv", 'case "$*" in *dir*) echo /tools/bin;; esac\n')
    programs.add("bwrap").add("sysctl", "echo 1\n").add("sudo")
    variables = {"INPUT_PACKAGE": "mlbuild==0.1.0", "GITHUB_PATH": str(tmp_path / "path")}

    done = programs.run("install.sh", variables)

    assert done.returncode == 0, done.stderr
    assert programs.calls("uv")[0] == ["tool", "install", "--quiet", "--force", "mlbuild==0.1.0"]
    assert (tmp_path / "path").read_text() == "/tools/bin\n"
    setting = "kernel.apparmor_restrict_unprivileged_userns=0"
    assert programs.calls("sudo") == [["sysctl", "-q", "-w", setting]]


def test_templates_are_part_of_the_package() -> None:
    shipped = {path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.*")}

    assert shipped >= {"github/action.yml", "github/workflow.yml", "gitlab/gitlab-ci.yml"}
    assert not any(os.path.basename(path).startswith(".") for path in shipped)
