"""Jobs: what hooks asked for, one job a push; which of them runs, and which are to come.

A folder per repository holds a record and a log for each job. One process at a time builds: it
holds the lock `running` and goes on until nothing is queued. A process that works on a job holds
the lock of that job, so that one which was killed is noticed: the kernel lets go of its locks.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from blake3 import blake3

from mlbuild.errors import HostError
from mlbuild.git.clone import Clone

State = Literal[
    "looking",  # it finds out what is affected
    "queued",
    "running",
    "done",
    "failed",
    "nothing",  # there was nothing to build
    "superseded",  # a newer job has taken over
    "stopped",  # by a signal
    "lost",  # whoever worked on it is gone
]
WORKING: tuple[State, ...] = ("looking", "running")
OPEN: tuple[State, ...] = (*WORKING, "queued")
KEPT = 50  # jobs that are remembered
_CLOCK = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Work:
    """A branch that moved, for one workspace."""

    workspace: str  # seen from the top of the repository, "." for the top
    ref: str
    base: str
    head: str
    remote: str  # that it is pushed to, "" for none
    patterns: tuple[str, ...]  # the targets that are built where they are affected
    labels: tuple[str, ...] = ()  # those that are
    looked: bool = False  # whether `labels` are known

    def continues(self, other: "Work") -> bool:
        """Say whether both are about the same branch and workspace."""
        mine = (self.workspace, self.ref, self.remote)
        return mine == (other.workspace, other.ref, other.remote)


@dataclass(frozen=True, slots=True)
class Job:
    """What one run of a hook asked for, and what became of it."""

    number: int
    hook: str
    folder: str  # where git is run
    works: tuple[Work, ...]
    state: State
    created: str  # times are UTC, "" for not yet
    started: str = ""
    ended: str = ""
    process: int = 0  # that works on it, or did
    gate: bool = False  # whether a push waits for it
    exit_code: int | None = None
    message: str = ""  # what became of it, in one sentence

    @property
    def labels(self) -> tuple[str, ...]:
        """The targets that it builds, each once."""
        return tuple(dict.fromkeys(label for work in self.works for label in work.labels))


class Held:
    """A lock on a file that this process holds; processes that it forks do not."""

    def __init__(self, file: int) -> None:
        self.file = file
        os.set_inheritable(file, False)
        os.register_at_fork(after_in_child=self.release)

    @classmethod
    def taken(cls, place: str) -> "Held | None":
        """Return the lock on a file, which is made if needed; None where it is somebody else's."""
        file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return None
        return cls(file)

    def release(self) -> None:
        """Let go of it."""
        if self.file >= 0:
            os.close(self.file)  # not unlocked: a copy in another process keeps it
            self.file = -1


class Jobs:
    """The jobs of a repository, in a folder of the store."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @classmethod
    def of(cls, clone: Clone, *, cache: str) -> "Jobs":
        """Return the jobs of a clone; all its working trees share them."""
        digest = blake3(clone.common.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return cls(os.path.join(cache, "hooks", f"{clone.name}-{digest}"))

    def log(self, number: int) -> str:
        """Return the path of the log of a job."""
        return os.path.join(self.folder, f"{number}.log")

    def tree(self, number: int) -> str:
        """Return the path of the checkout of a job."""
        return os.path.join(self.folder, "trees", str(number))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from changing which jobs there are, and in what state, for a moment."""
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            file = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HostError(f"cannot write `{self.folder}`: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def create(
        self, hook: str, works: Sequence[Work], *, folder: str, gate: bool
    ) -> tuple[Job, Held]:
        """Note a new job that somebody is about to work on; return it and its lock."""
        with self.locked():
            known = self._numbers()
            number = max(known, default=0) + 1
            self._forget(known)
            held = self._held(number)
            job = Job(number, hook, folder, tuple(works), "looking", now(), gate=gate)
            self.write(job)
        return job, held

    def note(self, hook: str, works: Sequence[Work], *, folder: str, message: str) -> Job:
        """Note that a hook ran and why it started nothing."""
        job, held = self.create(hook, works, folder=folder, gate=False)
        job = self.end(job, "nothing", message=message)
        held.release()
        with open(self.log(job.number), "a", encoding="utf-8") as file:
            file.write(f"{now()} {hook}: {message}\n")
        return job

    def write(self, job: Job) -> None:
        """Write the record of a job in one step."""
        place = self._record(job.number)
        try:
            with open(f"{place}.new", "w", encoding="utf-8") as file:
                json.dump(asdict(job), file)
            os.replace(f"{place}.new", place)
        except OSError as error:
            raise HostError(f"cannot write `{place}`: {error.strerror}") from error

    def read(self, number: int) -> Job | None:
        """Return a job as its record has it; None where there is none that can be read."""
        try:
            with open(self._record(number), encoding="utf-8") as file:
                return _job(json.load(file))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def all(self) -> list[Job]:
        """Return all jobs, the newest first; what nobody works on any more is "lost"."""
        found = [job for number in self._numbers() if (job := self.read(number)) is not None]
        return [self._seen(job) for job in sorted(found, key=lambda job: -job.number)]

    def queue(self, job: Job) -> tuple[Job, Held | None]:
        """Put a job in line; return it, and the right to build where nobody has that.

        It takes over from jobs in line what they were to build for the same branches: what these
        have moved since those began counts too. Works for which a newer job is in line go to that.
        """
        with self.locked():
            line = [one for one in self._line() if one.hook == job.hook]
            job = replace(job, state="queued")
            for other in line:
                if job.state != "queued":
                    break
                if other.number < job.number:
                    changed, job = _taken(other, job)
                else:
                    job, changed = _taken(job, other)
                self.write(changed)
            self.write(job)
            return job, Held.taken(os.path.join(self.folder, "running"))

    def next(self, right: Held) -> tuple[Job, Held] | None:
        """Return the oldest job in line, now running, and its lock.

        Where there is none, the right to build is given back: who queues a job from now on gets it.
        """
        with self.locked():
            line = self._line()
            if not line:
                right.release()
                return None
            job = replace(line[0], state="running", started=now(), process=os.getpid())
            held = self._held(job.number)
            self.write(job)
            return job, held

    def end(self, job: Job, state: State, *, code: int | None = None, message: str = "") -> Job:
        """Note what became of a job; return it."""
        job = replace(job, state=state, ended=now(), exit_code=code, message=message)
        self.write(job)
        return job

    def left(self) -> list[int]:
        """Return the numbers of jobs whose checkout is there although nobody works on them."""
        with suppress(OSError):
            names = os.listdir(os.path.join(self.folder, "trees"))
            return [int(one) for one in names if one.isdecimal() and not self._busy(int(one))]
        return []

    def _line(self) -> list[Job]:
        """Return the jobs in line, the oldest first."""
        found = [self.read(number) for number in sorted(self._numbers())]
        return [job for job in found if job is not None and job.state == "queued"]

    def _seen(self, job: Job) -> Job:
        if job.state == "queued" and not _is_held(os.path.join(self.folder, "running")):
            return replace(job, message="nobody builds now: it begins with the next job")
        if job.state not in WORKING or self._busy(job.number):
            return job
        # It may have ended between two looks.
        again = self.read(job.number) or job
        message = "its process is gone: it was killed, or this host was restarted"
        return replace(again, state="lost", message=message) if again.state in WORKING else again

    def _busy(self, number: int) -> bool:
        """Say whether somebody works on a job."""
        return _is_held(self._lock(number))

    def _held(self, number: int) -> Held:
        """Return the lock of a job. Nobody keeps it for more than a look at it."""
        file = os.open(self._lock(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        return Held(file)

    def _numbers(self) -> list[int]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [int(stem) for stem in stems if stem.isdecimal()]

    def _forget(self, known: Sequence[int]) -> None:
        """Remove what is known of old jobs that have ended."""
        for number in sorted(known)[: -KEPT + 1]:
            job = self.read(number)
            if job is None or self._seen(job).state not in OPEN:
                for place in (self._record(number), self.log(number), self._lock(number)):
                    with suppress(OSError):
                        os.unlink(place)

    def _record(self, number: int) -> str:
        return os.path.join(self.folder, f"{number}.json")

    def _lock(self, number: int) -> str:
        return os.path.join(self.folder, f"{number}.lock")


def _is_held(place: str) -> bool:
    """Say whether somebody holds the lock on a file."""
    try:
        file = os.open(place, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others may be looking too
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def now() -> str:
    """Return the time, for people."""
    return time.strftime(_CLOCK, time.gmtime())


def _taken(giver: Job, taker: Job) -> tuple[Job, Job]:
    """Return both jobs after `taker` took over what `giver` was to build for the same branches."""
    kept: list[Work] = []
    works = list(taker.works)
    for work in giver.works:
        at = next((at for at, one in enumerate(works) if one.continues(work)), None)
        if at is None:
            kept.append(work)
            continue
        labels = tuple(dict.fromkeys((*work.labels, *works[at].labels)))
        works[at] = replace(works[at], base=work.base, labels=labels, looked=False)
    taker = replace(taker, works=tuple(works))
    if kept:
        return replace(giver, works=tuple(kept)), taker
    message = f"job {taker.number} builds what it was to build"
    return replace(giver, state="superseded", ended=now(), message=message), taker


def _job(stored: Mapping[str, Any]) -> Job:
    works = tuple(
        Work(**{**work, "patterns": tuple(work["patterns"]), "labels": tuple(work["labels"])})
        for work in stored["works"]
    )
    return Job(**{**stored, "works": works})
