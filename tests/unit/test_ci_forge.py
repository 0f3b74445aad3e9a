"""What the variables of GitHub and GitLab say of a job."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlbuild.git.ci.forge import ORIGIN, Forge, forge_of

OURS, THEIRS = "us/digits", "them/digits"


def github(folder: Path, event: dict[str, Any], **variables: str) -> Forge:
    place = folder / "event.json"
    place.write_text(json.dumps(event))
    return forge_of(
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": OURS,
            "GITHUB_EVENT_PATH": str(place),
            **{f"GITHUB_{name}": value for name, value in variables.items()},
        }
    )


def pull(source: str | None) -> dict[str, Any]:
    repo = {"full_name": source} if source else None
    return {"pull_request": {"head": {"repo": repo}, "base": {"sha": "b" * 40}}}


def pushed(before: str) -> dict[str, Any]:
    return {"before": before, "repository": {"default_branch": "main"}}


@pytest.mark.parametrize(("source", "fork"), [(OURS, False), (THEIRS, True), (None, True)])
def test_a_pull_request_compares_with_its_target_and_may_come_from_a_fork(
    tmp_path: Path, source: str | None, *, fork: bool
) -> None:
    found = github(tmp_path, pull(source), EVENT_NAME="pull_request", BASE_REF="dev")

    assert found.bases == ("origin/dev", "b" * 40)
    assert found.fork is fork
    assert found.variables == ({"MLBUILD_CACHE_WRITE": "never"} if fork else {})


def test_a_push_to_the_default_branch_compares_with_what_it_was(tmp_path: Path) -> None:
    event = pushed("c" * 40)

    found = github(tmp_path, event, EVENT_NAME="push", REF="refs/heads/main")

    assert found.bases == ("c" * 40,)
    assert found.before


def test_a_push_to_another_branch_compares_with_the_default_branch(tmp_path: Path) -> None:
    event = pushed("c" * 40)

    found = github(tmp_path, event, EVENT_NAME="push", REF="refs/heads/topic")

    assert found.bases == ("origin/main",)
    assert not found.before


@pytest.mark.parametrize(
    ("event", "name", "ref"),
    [
        (pushed("0" * 40), "push", "refs/heads/main"),
        (pushed("0" * 40), "push", "refs/tags/v1"),
        ({}, "schedule", "refs/heads/main"),
        ({}, "workflow_dispatch", "refs/heads/topic"),
    ],
)
def test_where_there_is_nothing_to_compare_with_everything_counts(
    tmp_path: Path, event: dict[str, Any], name: str, ref: str
) -> None:
    assert github(tmp_path, event, EVENT_NAME=name, REF=ref).everything


def test_a_merge_queue_compares_with_what_it_was_put_upon(tmp_path: Path) -> None:
    event = {"merge_group": {"base_sha": "d" * 40}}

    assert github(tmp_path, event, EVENT_NAME="merge_group").bases == ("d" * 40,)


def test_the_place_of_the_summary_and_the_job_are_known(tmp_path: Path) -> None:
    found = github(
        tmp_path,
        {},
        EVENT_NAME="schedule",
        STEP_SUMMARY="/tmp/summary",  # noqa: S108 - never written
        SERVER_URL="https://github.example",
        RUN_ID="7",
    )

    assert found.summary == "/tmp/summary"  # noqa: S108 - likewise
    assert found.url == "https://github.example/us/digits/actions/runs/7"


def test_an_event_that_cannot_be_read_is_one_of_which_nothing_is_known() -> None:
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request"}

    found = forge_of(variables | {"GITHUB_BASE_REF": "main", "GITHUB_EVENT_PATH": "/nowhere"})

    assert found.bases == ("origin/main",)


@pytest.mark.parametrize(("source", "fork"), [("7", False), ("8", True)])
def test_a_merge_request_compares_with_where_it_parted(source: str, *, fork: bool) -> None:
    found = forge_of(
        {
            "GITLAB_CI": "true",
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": "e" * 40,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_PROJECT_ID": "7",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": source,
        }
    )

    assert found.bases == ("e" * 40, "origin/main")
    assert found.fork is fork


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CI_COMMIT_BRANCH": "main"}, Forge("GitLab", ("f" * 40,), before=True)),
        ({"CI_COMMIT_BRANCH": "topic"}, Forge("GitLab", ("origin/main",))),
        ({"CI_COMMIT_TAG": "v1"}, Forge("GitLab", everything=True)),
        (
            {"CI_COMMIT_BRANCH": "main", "CI_PIPELINE_SOURCE": "schedule"},
            Forge("GitLab", everything=True),
        ),
        (
            {"CI_COMMIT_BRANCH": "main", "CI_COMMIT_BEFORE_SHA": "0" * 40},
            Forge("GitLab", everything=True),
        ),
    ],
)
def test_a_branch_of_gitlab_compares_like_one_of_github(
    variables: dict[str, str], expected: Forge
) -> None:
    fixed = {
        "GITLAB_CI": "true",
        "CI_PIPELINE_SOURCE": "push",
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_BEFORE_SHA": "f" * 40,
    }

    assert forge_of(fixed | variables) == expected


def test_on_a_machine_of_ones_own_the_origin_is_looked_at() -> None:
    assert forge_of({"CI": "true"}) == Forge(bases=ORIGIN)
