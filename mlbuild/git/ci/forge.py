"""Forge: what GitHub, GitLab or nobody says about the job that runs, and what it compares with."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbuild.errors import InputError
from mlbuild.git.repository import Repository

NOTHING = "0" * 40  # as a base: what git has never seen, so that all targets count
ORIGIN = ("origin/HEAD", "origin/main", "origin/master")
CACHE_WRITE = "MLBUILD_CACHE_WRITE"


@dataclass(frozen=True, slots=True)
class Forge:
    """What is known of a job. Without a name it runs on somebody's own machine."""

    name: str = ""  # "GitHub" or "GitLab"
    bases: tuple[str, ...] = ()  # revisions to compare with; the first that is there counts
    everything: bool = False  # whether there is nothing to compare with: a schedule, a tag
    before: bool = False  # whether the base is what a branch was before the push: it may be gone
    fork: bool = False  # whether the change comes from a repository of somebody else
    summary: str = ""  # path of the file that the forge shows beside the job
    url: str = ""  # of the job

    @property
    def variables(self) -> dict[str, str]:
        """What the job adds to its environment: what strangers build is kept from others."""
        return {CACHE_WRITE: "never"} if self.fork else {}


def forge_of(environ: Mapping[str, str]) -> Forge:
    """Return what the variables of this process say of the job."""
    if environ.get("GITHUB_ACTIONS") == "true":
        return _github(environ, _event(environ.get("GITHUB_EVENT_PATH", "")))
    if environ.get("GITLAB_CI"):
        return _gitlab(environ)
    return Forge(bases=ORIGIN)


def base_of(
    repository: Repository, forge: Forge, *, asked: str, say: Callable[[str], None]
) -> tuple[str, str]:
    """Return the name of what to compare with, and its commit: where it and `HEAD` part.

    NOTHING is the commit where all targets count. Raises InputError for a base that is asked for
    or that the forge names, and that is not here.
    """
    if asked:
        return asked, _parting(repository, asked)
    if forge.everything:
        return "", NOTHING
    for revision in forge.bases:
        if not repository.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").code:
            return revision, _parting(repository, revision)
    if forge.before:
        say("what the branch was before this push is not in this clone: all targets are built")
        return "", NOTHING
    if forge.name:
        return forge.bases[0], _parting(repository, forge.bases[0])
    repository.commit("HEAD")  # says so where there is no commit at all
    raise InputError(
        "it is not known which branch to compare with",
        hints=(
            "name one: `mlbuild ci --base main`",
            "`git remote set-head origin --auto` makes it known",
        ),
    )


def _parting(repository: Repository, revision: str) -> str:
    one, dots, other = revision.partition("...")
    if not dots and not repository.commit(revision):
        return NOTHING
    return repository.merge_base(one or "HEAD", other or "HEAD")


def _github(environ: Mapping[str, str], event: Mapping[str, Any]) -> Forge:
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    run = environ.get("GITHUB_RUN_ID", "")
    default = _within(event, "repository", "default_branch")
    kind, fork, found = environ.get("GITHUB_EVENT_NAME", ""), False, Forge(everything=True)
    if kind.startswith("pull_request"):
        fork = _within(event, "pull_request", "head", "repo", "full_name") != repository
        target = environ.get("GITHUB_BASE_REF", "")
        bases = (
            f"origin/{target}" if target else "",
            _within(event, "pull_request", "base", "sha"),
        )
        found = Forge(bases=tuple(filter(None, bases)))
    elif kind == "merge_group":
        found = Forge(bases=(_within(event, "merge_group", "base_sha"),))
    elif kind == "push":
        branch = environ.get("GITHUB_REF", "").removeprefix("refs/heads/")
        found = _pushed(branch, default, _within(event, "before"))
    return Forge(
        "GitHub",
        tuple(filter(None, found.bases)) or ORIGIN,
        found.everything,
        found.before,
        fork,
        environ.get("GITHUB_STEP_SUMMARY", ""),
        f"{server}/{repository}/actions/runs/{run}" if server and run else "",
    )


def _gitlab(environ: Mapping[str, str]) -> Forge:
    target = environ.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "")
    parted = environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", "")
    found = Forge(everything=True)
    if target or parted:
        found = Forge(bases=tuple(filter(None, (parted, f"origin/{target}" if target else ""))))
    elif environ.get("CI_PIPELINE_SOURCE", "push") == "push" and not environ.get("CI_COMMIT_TAG"):
        branch = environ.get("CI_COMMIT_BRANCH", "")
        default = environ.get("CI_DEFAULT_BRANCH", "")
        found = _pushed(branch, default, environ.get("CI_COMMIT_BEFORE_SHA", ""))
    ours = environ.get("CI_MERGE_REQUEST_PROJECT_ID", "")
    return Forge(
        "GitLab",
        found.bases,
        found.everything,
        found.before,
        environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", ours) != ours,
        url=environ.get("CI_JOB_URL", ""),
    )


def _pushed(branch: str, default: str, before: str) -> Forge:
    """Return what a push compares with: the default branch with itself before, others with it."""
    if branch != default and default and not branch.startswith("refs/"):
        return Forge(bases=(f"origin/{default}",))
    if not before.strip("0"):
        return Forge(everything=True)  # a new branch, or a tag
    return Forge(bases=(before,), before=True)


def _event(path: str) -> Mapping[str, Any]:
    """Return what GitHub tells of the event that started the job; nothing where it is unknown."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _within(event: Mapping[str, Any], *names: str) -> str:
    """Return the text below nested names, "" where there is none."""
    found: Any = event
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""
