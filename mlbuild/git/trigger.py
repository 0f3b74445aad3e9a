"""Trigger: what one run of a hook asks for: branches that moved, and targets declared for them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbuild.config import Config, load
from mlbuild.git.clone import Clone
from mlbuild.git.jobs import Work
from mlbuild.git.updates import Update, committed, merged, pushed, received
from mlbuild.workspace import LOCAL, MARKER

BUILDING = ("pre-push", "post-commit", "post-merge", "post-receive")  # the hooks that build
WAITING = frozenset({"pre-push"})  # those that a gate may hold up


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a hook asks for. Without works, `reason` says why, "" for what is not worth a word."""

    works: tuple[Work, ...]
    gate: bool = False
    reason: str = ""


def updates_of(hook: str, words: Sequence[str], *, told: bytes, clone: Clone) -> list[Update]:
    """Return the branches that moved, from what git gives the hook: its words and its stdin."""
    repository = clone.repository
    match hook:
        case "pre-push":
            return pushed(repository, told, remote=words[0] if words else "")
        case "post-receive":
            return received(repository, told)
        case "post-merge":
            return merged(repository, squashed=list(words[:1]) == ["1"])
        case _:
            return committed(repository)


def trigger(
    hook: str, words: Sequence[str], *, told: bytes, clone: Clone, environ: Mapping[str, str]
) -> Trigger:
    """Return what is to be built for the workspaces of a clone that the hook is on for.

    What is declared is read from the commits themselves. Raises InputError for settings in them
    that cannot be meant.
    """
    wishes = clone.wishes(hook)
    updates = updates_of(hook, words, told=told, clone=clone) if wishes else []
    if not updates:
        return Trigger(())
    remote = words[0] if hook == "pre-push" and words else ""
    if "://" in remote or "@" in remote:
        remote = ""  # an address may hold a password, and records are kept
    works: list[Work] = []
    gate = False
    for update in updates:
        for workspace in wishes:
            config = _settings(clone, workspace, commit=update.head, environ=environ)
            if config is None or not config.hook_targets:
                continue
            gate = gate or (config.hook_gate and hook in WAITING)
            ref, base, head = update.ref, update.base, update.head
            works.append(Work(workspace, ref, base, head, remote, config.hook_targets))
    if works:
        return Trigger(tuple(works), gate)
    return Trigger((), reason=f"no `targets` below `[hooks]` in {MARKER}, so nothing is built")


def _settings(
    clone: Clone, workspace: str, *, commit: str, environ: Mapping[str, str]
) -> Config | None:
    """Return the settings of a workspace in a commit, None where it is not in that."""
    path = os.path.normpath(os.path.join(workspace, MARKER))
    answer = clone.repository.run("cat-file", "blob", f"{commit}:{path}")
    if answer.code:
        return None
    root = os.path.normpath(os.path.join(clone.top or clone.common, workspace))
    ours = {MARKER: answer.out, LOCAL: _bytes(os.path.join(root, LOCAL))}
    return load(root, environ=environ, flags={}, ours=ours)


def _bytes(place: str) -> bytes:
    try:
        with open(place, "rb") as file:
            return file.read()
    except OSError:
        return b""
