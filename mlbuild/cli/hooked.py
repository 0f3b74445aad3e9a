"""What installed hooks call: `mlbuild hooks run`, `check`, and the process in the background."""

import os
import sys
from collections.abc import Callable, Sequence

from mlbuild.cli.session import Screen, terminations
from mlbuild.config import load
from mlbuild.errors import InputError, did_you_mean
from mlbuild.git import background
from mlbuild.git.background import Verdict
from mlbuild.git.clone import Clone
from mlbuild.git.hooks import HOOKS
from mlbuild.git.jobs import Held, Job, Jobs
from mlbuild.git.script import READING, REFUSED
from mlbuild.git.staged import checked, staged_files, unformatted
from mlbuild.git.trigger import trigger
from mlbuild.git.voice import Listener
from mlbuild.ui import open_reader
from mlbuild.ui.diagnose import Place, error_lines
from mlbuild.ui.text import Paint, clean, plural

STATUS = "`mlbuild hooks status` shows it"
KNOWN = f"it has {', '.join(HOOKS)}"
_LABELS = 3  # that are named
_COLUMNS = 100


def run(verb: str, rest: Sequence[str], *, folder: str, screen: Screen) -> int:
    """Do what a hook, pre-commit or a process of ours wants."""
    if verb == "work":
        return _work(rest, screen)
    if verb == "check":
        return _check([os.path.normpath(os.path.join(folder, one)) for one in rest], screen)
    hook, *words = rest or ("",)
    if hook not in HOOKS:
        raise InputError(
            f"mlbuild has no hook `{hook}`", hints=did_you_mean(hook, HOOKS) or (KNOWN,)
        )
    told = sys.stdin.buffer.read() if hook in READING and sys.stdin else b""
    clone = Clone.at(folder, environ=screen.environ)
    if hook == "pre-commit":
        return _pre_commit(clone, screen) if clone.wishes(hook) else 0
    return _build(hook, words, told=told, clone=clone, screen=screen)


# Building


def _build(hook: str, words: Sequence[str], *, told: bytes, clone: Clone, screen: Screen) -> int:
    """Start a job for what moved; return REFUSED where a gate stops git."""
    wanted = trigger(hook, words, told=told, clone=clone, environ=screen.environ)
    if not wanted.works and not wanted.reason:
        return 0
    config = load(clone.top or clone.common, environ=screen.environ, flags={})
    jobs = Jobs.of(clone, cache=config.cache_dir)
    folder = clone.repository.folder
    if not wanted.works:
        jobs.note(hook, (), folder=folder, message=wanted.reason)
        return _say(screen, wanted.reason)
    job, held = jobs.create(hook, wanted.works, folder=folder, gate=wanted.gate)
    process = background.start(jobs, job, held=held, environ=screen.environ)
    if job.gate:
        return _waited(jobs, job, process.wait, screen)
    patience = 0.0 if hook == "post-commit" and _rebases(clone) else background.PATIENCE
    return _say(screen, _told(job, jobs, background.verdict(process, patience=patience)))


def _told(job: Job, jobs: Jobs, found: Verdict | None) -> str:
    """Return one sentence on what becomes of a job."""
    if found is None:
        return f"job {job.number} finds out in the background what to build: {STATUS}"
    match found.state:
        case "nothing":
            return found.message
        case "queued" | "superseded":
            return f"job {job.number} builds {_named(found)} in the background: {STATUS}"
        case _:
            log = f"{jobs.log(job.number)} has more"
            return f"job {job.number} cannot tell what to build: {found.message}; {log}"


def _waited(jobs: Jobs, job: Job, wait: Callable[[], int], screen: Screen) -> int:
    """Wait for a gate; return REFUSED where it is missed."""
    code = wait()
    ended = jobs.read(job.number)
    if code == 0:
        return _say(screen, ended.message if ended is not None else "")
    why = ended.message if ended is not None else ""
    _say(screen, f"the push is stopped: {why or 'a target or its gate failed'}")
    _say(screen, f"{jobs.log(job.number)} has the log; `git push --no-verify` pushes all the same")
    return REFUSED


def _named(found: Verdict) -> str:
    named = " ".join(found.labels[:_LABELS])
    more = len(found.labels) - _LABELS
    return f"{named} and {plural(more, 'more target')}" if more > 0 else named


def _rebases(clone: Clone) -> bool:
    """Say whether a rebase is under way: it makes many commits, and none should take long."""
    return os.path.isdir(clone.repository.place("rebase-merge"))


def _say(screen: Screen, text: str) -> int:
    if text:
        screen.err.lines([f"mlbuild: {clean(text)}"])
    return 0


def _work(rest: Sequence[str], screen: Screen) -> int:
    """Be the process that works on a job."""
    try:
        folder, number, file = rest
        jobs, held = Jobs(folder), Held(int(file))
        job = jobs.read(int(number))
    except (ValueError, OSError) as error:
        raise InputError("`mlbuild hooks work` is for installed hooks only") from error
    if job is None:
        raise InputError(f"there is no job {number} in `{folder}`")
    reader = open_reader(screen.err, screen.terminal)
    terminal = Listener(screen.err, reader, Paint(screen.terminal.color))
    with terminations():
        return background.work(jobs, job, held=held, environ=screen.environ, terminal=terminal)


# Before a commit


def _pre_commit(clone: Clone, screen: Screen) -> int:
    """Look at the files that are about to be committed; return REFUSED where they should not be."""
    index = screen.environ.get("GIT_INDEX_FILE", "")
    index = os.path.join(clone.top, index) if index else ""
    wishes = clone.wishes("pre-commit")
    staged = [
        path
        for path in staged_files(clone, index=index)
        if any(one == "." or path.startswith(f"{one}/") for one in wishes)
    ]
    wrong: list[str] = []
    failed = False
    for path, error in unformatted(clone, staged, index=index):
        if error is None:
            wrong.append(path)
        else:
            failed = True
            screen.err.lines(error_lines(error, screen.place))
    if wrong:
        _say(screen, f"not laid out as it should be: {' '.join(wrong)}")
        _say(screen, f"`mlbuild fmt {' '.join(wrong)}` does it; then `git add` them again")
    paths = [os.path.join(clone.top, path) for path in staged]
    failed = bool(_check(paths, screen)) or failed or bool(wrong)
    if failed:
        _say(screen, "nothing is committed; `git commit --no-verify` commits all the same")
    return REFUSED if failed else 0


def _check(paths: Sequence[str], screen: Screen) -> int:
    """Say what is wrong with files; return the exit code of that."""
    failed = False
    for found in checked(
        paths, environ=screen.environ, say=lambda text: screen.err.lines([clean(text)])
    ):
        place = Place(found.root, screen.place.paint, _COLUMNS)
        for one in found.problems:
            failed = failed or one.severity == "error"
            screen.err.lines(error_lines(one.error(), place))
        if found.elsewhere:
            errors = plural(found.elsewhere, "error")
            _say(screen, f"{errors} in other files: `mlbuild check` shows them")
    return InputError.exit_code if failed else 0
