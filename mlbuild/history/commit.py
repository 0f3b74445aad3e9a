"""Commit: which commit of git a workspace stands at, and whether its files differ from it."""

import os
import subprocess
from dataclasses import dataclass

PATIENCE = 2.0  # seconds; a build does not wait long for a remark in its history


@dataclass(frozen=True, slots=True)
class Commit:
    """Where a checkout stands."""

    hash: str
    dirty: bool  # tracked files differ from it


def commit_of(root: str) -> Commit | None:
    """Return where the checkout that holds `root` stands; None without git, a commit or an answer.

    One run of git tells both. It takes no lock and starts no program that the checkout names.
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
