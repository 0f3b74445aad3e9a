"""Book: what this machine has had started elsewhere, and has not got the outcome of.

A job is found again without it: whoever builds the same comes to the same order. The book lets a
person ask for jobs by the label of their target. It is a note in a file of its own for each job, so
that builds write it side by side; all of them may be lost.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from mlbuild.config import Config
from mlbuild.exec.base import Job
from mlbuild.store import files

FOLDER = ("remote", "book")  # below the local store; `remote/jobs` is a bucket's
KEPT = 8 * 24 * 3600.0  # seconds; the other side keeps an outcome for a week


@dataclass(frozen=True, slots=True)
class Note:
    """A job that was started, or is followed, from this machine."""

    id: str  # of its order, 64 hex digits
    label: str
    key: str  # of the action; "" for a run whose outcome nobody else may be given
    executor: str  # NAME of `[executors.NAME]`
    where: str  # what a user calls the machine
    since: float = 0.0  # seconds since the epoch, by our clock
    pid: int = 0  # of the submitter, on this machine
    root: str = ""  # of its workspace, or ""
    log: str = ""  # absolute path of the submitter's copy of the log
    operation: str = ""  # by which a server knows it


class Book:
    """The notes in the absolute `folder`, which need not be there; "" keeps none.

    `root` is the workspace whose builds write them.
    """

    def __init__(self, folder: str = "", *, root: str = "") -> None:
        self._folder = folder
        self._root = root

    def begin(self, id_: str, job: Job, *, executor: str, where: str, operation: str = "") -> None:
        """Note that a job is on its way elsewhere, or followed there, by this process."""
        now, action = time.time_ns() / 1e9, job.action
        known = self.note(id_)
        if known is not None and known.pid == os.getpid():
            now = known.since  # a connection was lost on the way
        self.write(
            Note(
                *(id_, action.owner, job.key, executor, where, now, os.getpid()),
                root=self._root,
                log=job.log,
                operation=operation,
            )
        )

    def write(self, note: Note) -> None:
        """Keep a note, in the place of an older one; where that cannot be, do without."""
        if not self._folder:
            return
        path = self._path(note.id)
        with suppress(OSError):
            os.makedirs(self._folder, 0o700, exist_ok=True)
            fresh = f"{self._folder}/.{note.id}-{os.getpid()}-{os.urandom(4).hex()}"
            with open(fresh, "w", encoding="utf-8", errors="surrogateescape") as file:
                json.dump(asdict(note), file)
            os.replace(fresh, path)

    def forget(self, id_: str) -> None:
        """Remove the note of an order, if there is one."""
        if self._folder:
            with suppress(OSError):
                os.unlink(self._path(id_))

    def note(self, id_: str) -> Note | None:
        """Return the note of an order."""
        return _read(self._path(id_))

    def notes(self) -> Sequence[Note]:
        """Return all notes, the oldest first; those that are too old to mean anything go."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return ()
        self._tidy(names)
        found = (_read(self._path(name)) for name in names if not name.startswith("."))
        return sorted(filter(None, found), key=lambda note: (note.since, note.id))

    def _path(self, id_: str) -> str:
        return f"{self._folder}/{id_}"

    def _tidy(self, names: Sequence[str]) -> None:
        oldest = time.time_ns() / 1e9 - KEPT
        for name in names:
            path = self._path(name)
            with suppress(OSError):
                if os.lstat(path).st_mtime < oldest:
                    os.unlink(path)


def book_of(config: Config) -> Book:
    """Return the book that lies beside the local store."""
    return Book(os.path.join(config.cache_dir, *FOLDER), root=config.root)


def _read(path: str) -> Note | None:
    """Return the note in a file; None for what is none of this version's."""
    try:
        said: dict[str, Any] = json.loads(files.read_file(path) or b"")
        known = {one.name: said[one.name] for one in fields(Note) if one.name in said}
        if any(type(value) is not _TYPES[name] for name, value in known.items()):
            return None
        return Note(**known)
    except (OSError, ValueError, TypeError):
        return None


_TYPES = {one.name: one.type for one in fields(Note)}
