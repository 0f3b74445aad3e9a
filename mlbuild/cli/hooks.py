"""`mlbuild hooks`: have git call mlbuild, and see what it does then."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, current_folder
from mlbuild.config import load
from mlbuild.errors import InputError, did_you_mean
from mlbuild.git.clone import Clone
from mlbuild.git.hooks import HOOKS, Hook, Hooks
from mlbuild.git.jobs import Job, Jobs
from mlbuild.git.repository import Repository
from mlbuild.ui.text import clean, plural
from mlbuild.workspace import MARKER, Workspace

USAGE = Usage(
    "hooks",
    "install [HOOK]… | uninstall [HOOK]… | status | run HOOK [WORD]… | check FILE…",
    "Have git call mlbuild. `install` puts hooks beside those that exist, `uninstall` takes them "
    "out again, `status` shows them and the jobs that they started. HOOK is `pre-push` (what "
    "`install` takes where none is named), `post-commit`, `post-merge`, `pre-commit` or, on a "
    "server, `post-receive`. They build the affected ones of the `targets` below `[hooks]` in "
    "mlbuild.toml, in the background; with `gate = true`, a push waits for that. `run` is what "
    "an installed hook calls, `check` what pre-commit calls with the names of files.",
    (
        Option(
            ("--shared",),
            "Also where `core.hooksPath` leads to a folder that all your repositories share.",
            dest="shared",
        ),
        Option(
            ("--workspace",),
            "In a bare repository: the folder of the workspace, seen from its top.",
            "DIR",
            "workspace",
        ),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)
_VERBS = ("install", "uninstall", "status", "run", "check")
_SHOWN = 10  # jobs, and 3 labels of each
_LABELS = 3
_SHORT = 12  # digits of a commit


def run(words: Words, screen: Screen) -> int:
    """Do what the first word says."""
    verb, *rest = words.rest or ("",)
    match verb:
        case "install":
            return _install(rest, words, screen)
        case "uninstall":
            return _uninstall(rest, words, screen)
        case "status":
            return _status(rest, words, screen)
        case "run" | "check" | "work":
            from mlbuild.cli import hooked  # noqa: PLC0415 - start-up: it loads what builds

            return hooked.run(verb, rest, folder=_folder(words), screen=screen)
        case _:
            said = f"`mlbuild hooks` has no `{verb}`" if verb else "nothing is asked of the hooks"
            near = did_you_mean(verb, _VERBS)
            raise InputError(said, hints=near or ("see `mlbuild help hooks`",))


def _install(names: Sequence[str], words: Words, screen: Screen) -> int:
    clone, workspace = _place(words, screen)
    _check_shared(clone, words)
    hooks = Hooks(clone, workspace)
    installed = [
        hooks.install(name, python=sys.executable) for name in _asked(names, default=_usual(clone))
    ]
    if words.has("json"):
        screen.out.lines([json.dumps({"hooks": [asdict(hook) for hook in installed]})])
        return 0
    for hook in installed:
        screen.out.lines([clean(f"installed {hook.path}")])
        if hook.before:
            screen.out.lines([clean(f"  it runs {hook.before} first, the hook that was there")])
    if any(hook.name != "pre-commit" for hook in installed):
        screen.err.lines(_advice(clone, workspace, screen))
    return 0


def _uninstall(names: Sequence[str], words: Words, screen: Screen) -> int:
    clone, workspace = _place(words, screen)
    _check_shared(clone, words)
    hooks = Hooks(clone, workspace)
    removed: list[str] = []
    for name in _asked(names, default=HOOKS):
        for owner in _owners(clone, name, workspace="" if _is_every(clone, words) else workspace):
            if Hooks(clone, owner).uninstall(name) and name not in removed:
                removed.append(name)
    left = [os.path.join(hooks.folder, one) for name in removed for one in hooks.leftovers(name)]
    if words.has("json"):
        screen.out.lines([json.dumps({"removed": removed, "left": left})])
        return 0
    screen.out.lines([clean(f"removed {os.path.join(hooks.folder, name)}") for name in removed])
    screen.err.lines([clean(f"{one} was a hook once; nothing runs it any more") for one in left])
    if not removed:
        screen.err.lines(["no hook of mlbuild is installed for this workspace"])
    return 0


def _status(rest: Sequence[str], words: Words, screen: Screen) -> int:
    if rest:
        raise InputError(f"`mlbuild hooks status` does not take `{rest[0]}`")
    clone, workspace = _place(words, screen)
    hooks = Hooks(clone, workspace).all()
    root = os.path.join(clone.top or clone.common, workspace)
    jobs = Jobs.of(clone, cache=load(root, environ=screen.environ, flags={}).cache_dir)
    if words.has("json"):
        found = {
            "hooks": [asdict(hook) for hook in hooks],
            "jobs": [job_facts(job, jobs) for job in jobs.all()],
        }
        screen.out.lines([json.dumps(found)])
        return 0
    screen.out.lines([clean(line) for line in _hook_lines(hooks)])
    known = jobs.all()
    for job in known[:_SHOWN]:
        screen.out.lines([clean(line) for line in _job_lines(job, jobs)])
    if not known:
        screen.out.lines(["no job yet"])
    return 0


def job_facts(job: Job, jobs: Jobs) -> dict[str, Any]:
    """Return a job as `--json` shows it."""
    return {
        "number": job.number,
        "hook": job.hook,
        "state": job.state,
        "gate": job.gate,
        "process": job.process or None,
        "created": job.created,
        "started": job.started or None,
        "ended": job.ended or None,
        "exit_code": job.exit_code,
        "message": job.message,
        "labels": job.labels,
        "log": jobs.log(job.number),
        "branches": [
            {
                "workspace": work.workspace,
                "ref": work.ref,
                "base": work.base,
                "head": work.head,
                "labels": work.labels,
            }
            for work in job.works
        ],
    }


# Where


def _folder(words: Words) -> str:
    return current_folder(words.text("folder"))


def _place(words: Words, screen: Screen) -> tuple[Clone, str]:
    """Return the clone of the current folder, and its workspace as seen from the top."""
    folder = _folder(words)
    clone = Clone.at(folder, environ=screen.environ)
    if not clone.top:
        return clone, os.path.normpath(words.text("workspace") or ".")
    if words.has("workspace"):
        raise InputError(
            "`--workspace` is for bare repositories",
            hints=("go to a workspace, or name it with `-C`",),
        )
    root = Workspace.find(folder).root
    screen.root = root
    return clone, Repository.holding(root, environ=screen.environ).prefix or "."


def _is_every(clone: Clone, words: Words) -> bool:
    """Say whether all workspaces are meant: in a bare repository, where none is named."""
    return not clone.top and not words.has("workspace")


def _owners(clone: Clone, hook: str, *, workspace: str) -> list[str]:
    """Return the workspaces to take a hook from, "" for all that it is on for."""
    return [workspace] if workspace else clone.wishes(hook) or ["."]


def _check_shared(clone: Clone, words: Words) -> None:
    if clone.hooks_are_shared() and not words.has("shared"):
        raise InputError(
            f"`core.hooksPath` leads to `{clone.hooks()}`, which all your repositories share",
            hints=(
                "`--shared` says yes: a hook does nothing where it is not installed",
                "`git config core.hooksPath .git/hooks` gives this repository hooks of its own",
            ),
        )


def _usual(clone: Clone) -> tuple[str, ...]:
    return ("post-receive",) if clone.bare else ("pre-push",)


def _asked(names: Sequence[str], *, default: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in HOOKS:
            raise InputError(
                f"mlbuild has no hook `{name}`",
                hints=did_you_mean(name, HOOKS) or (f"it has {', '.join(HOOKS)}",),
            )
    return names or default


# What is said


def _advice(clone: Clone, workspace: str, screen: Screen) -> list[str]:
    """Return what is still to be written, where no targets are declared."""
    if not clone.top:
        return []
    config = load(os.path.join(clone.top, workspace), environ=screen.environ, flags={})
    if config.hook_targets:
        return []
    return [f'next: say what they build, below `[hooks]` in {MARKER}: `targets = ["//..."]`']


def _hook_lines(hooks: Sequence[Hook]) -> list[str]:
    width = max(len(hook.name) for hook in hooks)
    said = {
        "on": "{}",
        "off": "not installed",
        "replaced": "{} is another hook now: install it again",
        "edited": "{}, which was edited since",
    }
    return [f"{hook.name:<{width}}  {said[hook.state].format(hook.path)}" for hook in hooks]


def _job_lines(job: Job, jobs: Jobs) -> list[str]:
    refs = ", ".join(f"{work.ref} at {work.head[:_SHORT]}" for work in job.works)
    labels = " ".join(job.labels[:_LABELS])
    if len(job.labels) > _LABELS:
        labels += f" and {plural(len(job.labels) - _LABELS, 'more target')}"
    head = f"job {job.number}: {job.state}  {job.hook} {refs}".rstrip()
    told = job.message or labels
    return [head, *([f"  {told}"] if told else []), f"  {jobs.log(job.number)}"]
