"""Background: the process beside git that works on jobs, and how it is started.

It has a session of its own, so that it outlives the terminal, and a low priority. Git waits for one
word of it, what it will build, and not for long.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from mlbuild.errors import MlbuildError
from mlbuild.git.jobs import Held, Job, Jobs, State, now
from mlbuild.git.labour import Labour
from mlbuild.git.repository import git_environment
from mlbuild.git.voice import Listener, Voice, plain_listener

PATIENCE = 1.0  # seconds that git waits for the word
NICE = 10
_PIECE = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What will be built for a job, as soon as that is known."""

    state: State
    labels: tuple[str, ...] = ()
    message: str = ""


# In the process that git started


def start(
    jobs: Jobs, job: Job, *, held: Held, environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a process that works on `job` and gets its lock; its verdict comes on stdout.

    The process of a gate keeps the terminal and ends with it.
    """
    words = ["hooks", "work", "--", jobs.folder, str(job.number), str(held.file)]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlbuild", *words],
        cwd=jobs.folder,
        env=_environment(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if job.gate else subprocess.DEVNULL,
        pass_fds=(held.file,),
        start_new_session=not job.gate,
    )
    held.release()
    return process


def verdict(process: "subprocess.Popen[bytes]", *, patience: float | None) -> Verdict | None:
    """Return what a process says that it will build; None where that takes more than `patience`."""
    assert process.stdout is not None
    file, said = process.stdout.fileno(), b""
    until = time.monotonic() + (patience or 0.0)
    while not said.endswith(b"\n"):
        left = None if patience is None else max(0.0, until - time.monotonic())
        if not select.select([file], [], [], left)[0]:
            return None
        piece = os.read(file, _PIECE)
        if not piece:
            return Verdict("lost", message="its process ended before it could say anything")
        said += piece
    found = json.loads(said)
    return Verdict(found["state"], tuple(found["labels"]), found["message"])


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process without those that lead git to one repository."""
    kept = git_environment(environ)
    return {
        name: value
        for name, value in environ.items()
        if name in kept or name.startswith(("LANG", "LC_"))
    }


# In the process that works


def work(
    jobs: Jobs, job: Job, *, held: Held, environ: Mapping[str, str], terminal: Listener
) -> int:
    """Find out what a job affects, say it on stdout, and see that it is built.

    A gate is built here and now, and shown on `terminal`. Another job is put in line, and the line
    is built unless somebody does already. Returns the exit code.
    """
    labour = Labour(jobs, environ=environ)
    git = os.dup(1)
    with _voice(jobs, job, terminal) as voice:
        voice.line(f"job {job.number}, {job.hook}, {job.created}")
        job = replace(job, process=os.getpid(), started=now() if job.gate else "")
        jobs.write(job)
        found = _found(labour, job, voice, git)
        if found is None:
            return _code(jobs.read(job.number))
        if job.gate:
            _say(git, Verdict("running", found.labels))
            return labour.build(found, voice)
        found, right = jobs.queue(found)
        held.release()
        _say(git, Verdict(found.state, found.labels, found.message))
    if right is not None:
        os.nice(NICE)
        _drain(jobs, labour, right, terminal)
    return 0


def _found(labour: Labour, job: Job, voice: Voice, git: int) -> Job | None:
    """Return the job with what it affects; None where it has come to its end."""
    try:
        found = labour.look(job, voice)
    except MlbuildError as error:
        _say(git, Verdict("failed", message=error.message))
        return None
    if found.state == "nothing":
        _say(git, Verdict("nothing", message=found.message))
        return None
    return found


def _code(job: Job | None) -> int:
    return job.exit_code or 0 if job is not None else 0


def _drain(jobs: Jobs, labour: Labour, right: Held, terminal: Listener) -> None:
    """Build what is in line until nothing is."""
    while (following := jobs.next(right)) is not None:
        job, held = following
        labour.sweep(job)
        with _voice(jobs, job, terminal) as voice:
            try:
                labour.build(job, voice)
            except (MlbuildError, KeyboardInterrupt):
                continue  # it is noted; what comes next is another matter
            finally:
                held.release()


def _say(git: int, found: Verdict) -> None:
    """Write a verdict as a line, for the process that git started, if it still listens."""
    line = json.dumps({"state": found.state, "labels": found.labels, "message": found.message})
    left = line.encode() + b"\n"
    with suppress(BrokenPipeError):
        while left:
            left = left[os.write(git, left) :]
    os.close(git)


@contextmanager
def _voice(jobs: Jobs, job: Job, terminal: Listener) -> Iterator[Voice]:
    """Yield what writes the log of a job. All that this process prints goes there too."""
    with open(jobs.log(job.number), "a", encoding="utf-8", errors="backslashreplace") as file:
        listeners = [plain_listener(file)]
        if job.gate:
            listeners.append(terminal)
        else:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        with Voice(listeners) as voice:
            yield voice
