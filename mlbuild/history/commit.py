"""Commit: which commit of git a workspace stands at, and whether its files differ from it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

PATIENCE = 2.0  # seconds; a build does not wait long for a remark in its history
# What git sets for its hooks, and what it would believe rather than look where it is started.
LOCAL = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)


@dataclass(frozen=True, slots=True)
class Commit:
    """Where a checkout stands."""

    hash: str
    dirty: bool  # tracked files differ from it


def commit_of(root: str, environ: Mapping[str, str]) -> Commit | None:
    """Return where the checkout that holds `root` stands; None without git, a commit or an answer.

    One run of git tells both. It takes no lock and starts no program that the checkout names. It
    gets the variables `environ`, as if no hook of another checkout had started us.
    """
    if not checkout_of(root):  # starting git takes longer than looking
        return None
    command = (
        "git",
        "--no-optional-locks",
        *("-c", "core.fsmonitor=false"),
        *("-C", root),
        *("status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules"),
    )
    try:
        run = subprocess.run(
            command,
            env={name: value for name, value in environ.items() if name not in LOCAL},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = run.stdout.decode("utf-8", "replace").splitlines()
    hash_ = next((line[13:] for line in lines if line.startswith("# branch.oid ")), "")
    if not hash_ or hash_ == "(initial)":
        return None
    return Commit(hash_, dirty=any(not line.startswith("#") for line in lines))


def checkout_of(root: str) -> str:
    """Return the absolute folder of the checkout that holds `root`, "" where none does."""
    folder = root
    while not os.path.lexists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above
    return folder
