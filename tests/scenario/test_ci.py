"""`mlbuild ci` in real git repositories: what is built, what is said of it, and who may write."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Build, Finished
from tests.junit import cases, checked
from tests.repositories import Repository

BUILD = """train(
    name = "model",
    script = "train.py",
    args = ["$(output model.txt)", "$(output metrics.json)"],
    data = {"numbers": "numbers.txt"},
    outs = ["model.txt"],
    metrics = "metrics.json",
)

evaluate(
    name = "eval",
    script = "evaluate.py",
    args = ["$(location model)", "$(output metrics.json)"],
    model = ":model/model.txt",
    gates = {"accuracy": ">= 0.9"},
)

genrule(
    name = "count",
    srcs = ["words.txt"],
    outs = ["count.txt"],
    cmd = "wc -l < $< > $@",
)

genrule(
    name = "twice",
    srcs = [":count"],
    outs = ["twice.txt"],
    cmd = "cat $< $< > $@",
)
"""
TRAIN = """import json, sys
open(sys.argv[1], "w").write("0.95")
json.dump({"loss": 0.25}, open(sys.argv[2], "w"))
"""
EVALUATE = """import json, sys
json.dump({"accuracy": float(open(sys.argv[1]).read())}, open(sys.argv[2], "w"))
"""
NO_FORGE = {"GITHUB_ACTIONS": "", "GITLAB_CI": "", "GITHUB_STEP_SUMMARY": ""}


class Project(Repository):
    """A workspace whose main branch was built, and in which changes are made."""

    cache: Path

    def mlbuild(self, *words: str, env: Mapping[str, str] | None = None) -> Finished:
        build = Build(self.root, cache=self.cache)
        build.env = {**NO_FORGE, "GIT_CONFIG_GLOBAL": "/dev/null", **(env or {})}
        return build.run(*words)

    def ci(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Run `mlbuild ci --json`; return what it printed."""
        done = self.mlbuild("ci", "--json", *words, env=env)
        assert done.code == code, f"exit code {done.code}:\n{done.stderr}\n{done.stdout}"
        return json.loads(done.stdout) | {"stderr": done.stderr}

    def at(self, root: Path) -> "Project":
        """Return a clone of it as a project with the same cache."""
        other = Project.__new__(Project)
        other.root, other.cache = root, self.cache
        return other


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose results on `main` are in the cache."""
    folder = tmp_path_factory.mktemp("ci")
    project = Project(folder / "work")
    project.cache = folder / "cache"
    project.file("mlbuild.toml", '[workspace]\nname = "digits"\n').file("BUILD.ml", BUILD)
    project.file("train.py", TRAIN).file("evaluate.py", EVALUATE).file("numbers.txt", "1\n")
    project.file("words.txt", "a\nb\n").file("README.md", "read me\n")
    project.file(".gitignore", ".mlbuild/\nmlbuild-out/\n")
    project.commit("main")
    assert project.mlbuild("//...").code == 0
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """Return a project of one's own, on a new branch, with the cache of `main`."""
    shutil.copytree(built.root, tmp_path / "work", symlinks=True)
    shutil.copytree(built.cache, tmp_path / "cache", symlinks=True)
    own = built.at(tmp_path / "work")
    own.cache = tmp_path / "cache"
    own.git("checkout", "-q", "-b", "topic")
    return own


def statuses(found: Any) -> dict[str, str]:
    return {one["label"]: one["status"] for one in found["targets"]}


def target(found: Any, label: str) -> Any:
    (one,) = (one for one in found["targets"] if one["label"] == label)
    return one


# what is built, and compared


def test_only_what_a_change_affects_is_built_and_held_against_the_base(project: Project) -> None:
    project.edit("train.py", "0.95", "0.97").commit()

    found = project.ci("--base", "main")

    assert statuses(found) == {"//:model": "ran", "//:eval": "ran"}
    assert target(found, "//:eval")["metrics"] == {
        "accuracy": {"now": 0.97, "base": 0.95, "change": pytest.approx(0.02)}
    }
    assert target(found, "//:eval")["gates"] == [
        {"metric": "accuracy", "bound": ">= 0.9", "value": 0.97, "passed": True}
    ]
    assert target(found, "//:model")["why"] == "file train.py"
    assert found["base"]["commit"] == project.git("rev-parse", "main")


def test_the_base_is_where_the_branches_part_and_not_where_the_other_one_went(
    project: Project,
) -> None:
    project.edit("words.txt", "a", "c").commit()
    project.git("checkout", "-q", "main")
    project.edit("train.py", "0.25", "0.5").commit()
    project.git("checkout", "-q", "topic")

    found = project.ci("--base", "main")

    assert statuses(found) == {"//:count": "ran", "//:twice": "cached"}


def test_a_missed_gate_is_exit_code_3_and_the_base_still_tells_what_it_was(
    project: Project,
) -> None:
    project.edit("train.py", "0.95", "0.5").commit()

    found = project.ci("--base", "main", "--junit", "j.xml", "--report", "out/r.md", code=3)

    assert statuses(found) == {"//:model": "ran", "//:eval": "missed"}
    assert target(found, "//:eval")["metrics"]["accuracy"]["change"] == pytest.approx(-0.45)
    report = (project.root / "out/r.md").read_text()
    assert report.startswith("<!-- mlbuild ci digits -->\n### digits: 1 gate missed\n")
    assert "| `accuracy >= 0.9` | `//:eval` | 0.5 | 0.95 | **missed** |" in report
    found = cases(checked((project.root / "j.xml").read_text()))
    assert found == {
        "root model": "passed",
        "root eval": "passed",
        "root.eval accuracy >= 0.9": "failure",
    }


def test_a_failed_action_is_exit_code_1_and_keeps_nothing_else_from_being_built(
    project: Project,
) -> None:
    project.edit("BUILD.ml", "wc -l", "echo lost; false; wc -l")
    project.edit("train.py", "0.95", "0.5").commit()

    found = project.ci("--base", "main", "--report", "r.md", code=1)

    assert statuses(found) == {
        "//:count": "failed",
        "//:model": "ran",
        "//:eval": "missed",
        "//:twice": "skipped",
    }
    report = (project.root / "r.md").read_text()
    assert "### digits: 1 gate missed, 1 target failed, 1 not built\n" in report
    assert "`//:count`: it ended with exit code 1" in report
    assert "```text\nlost\n```" in report


def test_a_change_of_the_docs_builds_nothing(project: Project) -> None:
    project.edit("README.md", "read", "look at").commit()

    found = project.ci("--base", "main", "--junit", "j.xml", "--metrics", "m.txt")

    assert found["targets"] == []
    assert found["cache"] == {"hits": 0, "runs": 0, "rate": None}
    assert cases(checked((project.root / "j.xml").read_text())) == {}
    assert (project.root / "m.txt").read_text().endswith("# EOF\n")


def test_what_the_cache_does_not_know_of_the_base_is_said_and_not_guessed(
    project: Project, tmp_path: Path
) -> None:
    project.edit("train.py", "0.95", "0.97").commit()
    project.cache = tmp_path / "empty"

    found = project.ci("--base", "main", "--report", "r.md")

    assert target(found, "//:eval")["metrics"]["accuracy"]["base"] is None
    report = (project.root / "r.md").read_text()
    assert "| `//:eval` | `accuracy` | no base result | 0.97 |  |" in report


def test_the_base_is_known_although_its_own_definition_was_another(project: Project) -> None:
    project.edit("evaluate.py", '"accuracy"', '"accuracy": 1.0, "other"')
    project.edit("BUILD.ml", 'name = "eval"', 'name = "eval",\n    params = {"k": 1}')
    project.file("more/BUILD.ml", 'genrule(name = "new", outs = ["o"], cmd = "echo > $@")').commit()

    found = project.ci("--base", "main")

    assert target(found, "//:eval")["metrics"] == {
        "accuracy": {"now": 1.0, "base": 0.95, "change": pytest.approx(0.05)},
        "other": {"now": 0.95, "base": None, "change": None},
    }
    assert target(found, "//more:new")["new"]


def test_folders_as_data_of_the_base_are_read_from_git(project: Project) -> None:
    project.git("checkout", "-q", "main")
    project.file("data/a/one.txt", "1").file("data/run.sh", "#!/bin/sh\n")
    (project.root / "data/run.sh").chmod(0o755)
    (project.root / "data/link").symlink_to("a/one.txt")
    project.edit("BUILD.ml", '"numbers.txt"', '"data"').commit()
    assert project.mlbuild("//:eval").code == 0
    project.git("checkout", "-q", "-B", "topic")
    project.file("data/a/one.txt", "2").edit("train.py", "0.25", "0.125").commit()

    found = project.ci("--base", "main")

    assert target(found, "//:model")["metrics"]["loss"]["change"] == -0.125


def test_a_gate_counts_for_its_own_target_and_not_for_groups_of_it(project: Project) -> None:
    suite = 'test_suite(name = "release", tests = ["//:eval"])\n'
    project.edit("train.py", "0.95", "0.97").file("more/BUILD.ml", suite).commit()

    found = project.ci("--base", "main")

    gates = {one["label"]: len(one["gates"]) for one in found["targets"]}
    assert gates == {"//:model": 0, "//:eval": 1, "//more:release": 0}


def test_data_in_a_submodule_is_that_of_the_base_too(project: Project, tmp_path: Path) -> None:
    numbers = Repository(tmp_path / "numbers").file("loss.txt", "0.5")
    numbers.commit()
    project.git("checkout", "-q", "main")
    local = ("-c", "protocol.file.allow=always")
    project.git(*local, "submodule", "--quiet", "add", str(numbers.root), "numbers")
    project.edit("BUILD.ml", '"numbers.txt"', '"numbers/loss.txt"')
    project.edit(
        "BUILD.ml",
        '"$(output metrics.json)"],',
        '"$(output metrics.json)", "$(location numbers)"],',
    )
    project.edit("train.py", "0.25", "float(open(sys.argv[3]).read())").commit()
    assert project.mlbuild("//:eval").code == 0
    project.git("checkout", "-q", "-B", "topic")
    numbers.file("loss.txt", "0.25").commit()
    project.git("-C", "numbers", "pull", "-q")
    project.commit()

    found = project.ci("--base", "main")

    assert target(found, "//:model")["metrics"]["loss"] == {
        "now": 0.25,
        "base": 0.5,
        "change": -0.25,
    }


def test_links_to_data_are_those_of_the_base(project: Project) -> None:
    project.git("checkout", "-q", "main")
    project.file("one.txt", "1").file("two.txt", "2")
    (project.root / "numbers.txt").unlink()
    (project.root / "numbers.txt").symlink_to("one.txt")
    project.edit("train.py", "0.25", "float(open('numbers.txt').read())").commit()
    assert project.mlbuild("//:eval").code == 0
    project.git("checkout", "-q", "-B", "topic")
    (project.root / "numbers.txt").unlink()
    (project.root / "numbers.txt").symlink_to("two.txt")
    project.commit()

    found = project.ci("--base", "main")

    assert target(found, "//:model")["metrics"]["loss"]["change"] == 1.0


def test_known_results_are_counted_with_the_time_that_they_saved(project: Project) -> None:
    project.edit("train.py", "0.95", "0.97").commit()
    project.ci("--base", "main")

    again = project.ci("--base", "main")

    assert set(statuses(again).values()) == {"cached"}
    assert again["cache"] == {"hits": 3, "runs": 0, "rate": 1.0}
    assert again["saved"] > 0


def test_patterns_choose_among_what_is_affected(project: Project) -> None:
    project.edit("train.py", "0.95", "0.97").edit("words.txt", "a", "c").commit()

    found = project.ci("--base", "main", "//...", "-//:eval", "-//:twice")

    assert statuses(found) == {"//:model": "ran", "//:count": "ran"}


def test_at_home_files_count_that_are_not_committed(project: Project) -> None:
    project.edit("words.txt", "a", "c")

    found = project.ci("--base", "main")

    assert statuses(found) == {"//:count": "ran", "//:twice": "cached"}
    assert found["head"] == ""


def test_the_results_stand_on_stdout_and_what_came_of_it_on_stderr(project: Project) -> None:
    project.edit("train.py", "0.95", "0.97").commit()

    done = project.mlbuild("ci", "--base", "main")

    assert "//:eval  accuracy 0.97" in done.stdout
    assert done.stderr.endswith("2 targets built, 1 gate passed since main\n")


# what to compare with


def test_a_clone_knows_its_base_by_itself(project: Project, tmp_path: Path) -> None:
    project.git("checkout", "-q", "main")
    clone = project.at(project.clone(tmp_path / "clone"))
    clone.edit("words.txt", "a", "c")

    found = clone.ci()

    assert found["base"]["revision"] == "origin/HEAD"
    assert statuses(found) == {"//:count": "ran", "//:twice": "cached"}


def test_without_an_origin_a_base_must_be_named(project: Project) -> None:
    done = project.mlbuild("ci")

    assert done.code == 2
    assert "it is not known which branch to compare with" in done.stderr
    assert "mlbuild ci --base main" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--base", "mian"), "did you mean `main`?"),
        (("--base=-x",), "cannot be a revision"),
        (("--base", "main", "//nowhere:x"), "there is no package `//nowhere`"),
        (("--base", "main", "--junit", "/proc/none/j.xml"), "cannot write `/proc/none/j.xml`"),
    ],
)
def test_words_that_cannot_be_meant_are_exit_code_2(
    project: Project, words: tuple[str, ...], said: str
) -> None:
    done = project.mlbuild("ci", *words)

    assert done.code == 2
    assert said in done.stderr


def test_outside_of_git_there_is_nothing_to_compare(build: Build) -> None:
    build.env = NO_FORGE

    done = build.run("ci", "--base", "main")

    assert done.code == 2
    assert "is not in a git repository" in done.stderr


def test_a_fault_of_the_change_is_in_the_reports_too(project: Project, tmp_path: Path) -> None:
    project.edit("BUILD.ml", "genrule(", "genrlue(").commit()
    summary = tmp_path / "summary.md"

    done = project.mlbuild(
        "ci", "--base", "main", "--junit", "j.xml", "--summary", str(summary), "--report", "r.md"
    )

    assert done.code == 2
    assert "nothing could be built" in summary.read_text()
    assert "genrlue" in (project.root / "r.md").read_text()
    assert cases(checked((project.root / "j.xml").read_text())) == {"mlbuild mlbuild": "error"}


# jobs of GitHub and GitLab


def github(folder: Path, event: dict[str, Any], **variables: str) -> dict[str, str]:
    """Return the variables of a job that an event started."""
    place = folder / "event.json"
    place.write_text(json.dumps(event))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "us/digits",
        "GITHUB_EVENT_PATH": str(place),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        **{f"GITHUB_{name}": value for name, value in variables.items()},
    }


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_a_pull_request_from_a_fork_reads_the_cache_and_is_merged_into_the_target(
    project: Project, tmp_path: Path
) -> None:
    # The fork changes one thing, the target another; GitHub checks out their merge.
    fork = project.at(project.clone(tmp_path / "fork"))
    fork.git("checkout", "-q", "-b", "theirs")
    fork.edit("words.txt", "a", "c").commit()
    project.git("checkout", "-q", "main")
    project.edit("README.md", "read", "look at").commit()
    job = project.at(project.clone(tmp_path / "job"))
    job.git("fetch", "-q", str(fork.root), "theirs")
    job.git("merge", "-q", "--no-edit", "FETCH_HEAD")
    job.git("checkout", "-q", "--detach")
    repo = {"full_name": "them/digits"}
    event = {"pull_request": {"head": {"repo": repo}, "base": {"sha": "0"}}}
    env = github(tmp_path, event, EVENT_NAME="pull_request", BASE_REF="main")

    found = job.ci(env=env)

    assert statuses(found) == {"//:count": "ran", "//:twice": "cached"}
    assert found["fork"]
    assert found["base"]["revision"] == "origin/main"
    summary = (tmp_path / "summary.md").read_text()
    assert "From a fork: the shared cache is read, nothing is written to it." in summary


def test_a_summary_is_added_to_what_other_steps_said(project: Project, tmp_path: Path) -> None:
    project.edit("words.txt", "a", "c").commit()
    env = github(tmp_path, {}, EVENT_NAME="schedule")
    (tmp_path / "summary.md").write_text("said before\n")

    found = project.ci(env=env)

    assert len(found["targets"]) == 4
    assert found["base"] == {"revision": "", "commit": ""}
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("said before\n### digits: 4 targets built, 1 gate passed\n")
    assert "<!--" not in text


def test_a_push_builds_what_differs_from_before_it(project: Project, tmp_path: Path) -> None:
    before = project.git("rev-parse", "HEAD")
    project.git("checkout", "-q", "main")
    project.edit("words.txt", "a", "c").commit()
    event = {"before": before, "repository": {"default_branch": "main"}}
    env = github(tmp_path, event, EVENT_NAME="push", REF="refs/heads/main")

    found = project.ci(env=env)

    assert statuses(found) == {"//:count": "ran", "//:twice": "cached"}


def test_a_push_over_commits_that_are_gone_builds_everything(
    project: Project, tmp_path: Path
) -> None:
    event = {"before": "1" * 40, "repository": {"default_branch": "main"}}
    env = github(tmp_path, event, EVENT_NAME="push", REF="refs/heads/main")

    found = project.ci(env=env)

    assert len(found["targets"]) == 4
    assert any("not in this clone" in text for text in found["warnings"])


def test_a_merge_request_of_gitlab_gets_its_metrics(project: Project) -> None:
    base = project.git("rev-parse", "main")
    project.edit("train.py", "0.95", "0.97").commit()
    env = {
        "GITLAB_CI": "true",
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
    }

    found = project.ci("--metrics", "m.txt", env=env)

    assert found["base"]["commit"] == base
    assert (
        'mlbuild_metric{target="//:eval",metric="accuracy"} 0.97\n'
        in (project.root / "m.txt").read_text()
    )


def test_a_clone_that_does_not_reach_back_says_how_to_deepen_it(
    project: Project, tmp_path: Path
) -> None:
    project.edit("words.txt", "a", "c").commit()
    project.git("checkout", "-q", "main")
    project.edit("README.md", "read", "look at").commit()
    project.git("checkout", "-q", "topic")
    words = ("--depth=1", "--no-single-branch")
    shallow = project.at(project.clone(tmp_path / "shallow", *words, url=True))
    event = {"pull_request": {"head": {"repo": {"full_name": "us/digits"}}}}
    env = github(tmp_path, event, EVENT_NAME="pull_request", BASE_REF="main")

    done = shallow.mlbuild("ci", env=env)

    assert done.code == 2
    assert "fetch-depth: 0" in done.stderr
    assert "fetch-depth: 0" in (tmp_path / "summary.md").read_text()


def test_a_job_changes_nothing_in_the_repository(project: Project) -> None:
    project.edit("train.py", "0.95", "0.97").commit()
    before = files(project.root / ".git")

    project.ci("--base", "main")

    assert files(project.root / ".git") == before
    assert project.git("status", "--porcelain") == ""


def test_a_job_in_a_folder_of_its_repository_compares_that_folder(tmp_path: Path) -> None:
    project = Project(tmp_path / "repository")
    project.cache = tmp_path / "cache"
    project.file("sub/mlbuild.toml", '[workspace]\nname = "sub"\n').file("sub/BUILD.ml", BUILD)
    project.file("sub/train.py", TRAIN).file("sub/evaluate.py", EVALUATE)
    project.file("sub/numbers.txt", "1").file("sub/words.txt", "a\n").commit()
    project.root = tmp_path / "repository/sub"
    assert project.mlbuild("//...").code == 0
    project.edit("train.py", "0.95", "0.97")

    found = project.ci("--base", "main")

    assert target(found, "//:eval")["metrics"]["accuracy"]["base"] == 0.95
    assert os.listdir(tmp_path / "repository/sub/mlbuild-out")
