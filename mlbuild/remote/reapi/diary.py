"""Diary: what this machine remembers of an operation that it follows, in its book of jobs.

After the death of a process the next one that wants the same action finds the operation there.
"""

from dataclasses import replace

from mlbuild.exec.base import Job
from mlbuild.remote.jobs.book import Book


class Diary:
    """The operation of `job`, which has `id_` in `book`, on the executor `where`."""

    def __init__(self, book: Book, id_: str, job: Job, *, where: str) -> None:
        self._book = book
        self._id = id_
        self._job = job
        self._where = where
        note = book.note(id_) if job.key else None
        self._since = note.since if note else 0.0
        self.operation = note.operation if note else ""  # its name; "" for none

    def note(self, operation: str) -> None:
        """Remember the name of an operation that is under way."""
        if operation == self.operation or not operation:
            return
        self.operation = operation
        self._write()

    def follow(self) -> None:
        """Say that this process follows what another one has left."""
        self._write()

    def forget(self) -> None:
        """Forget the operation: it is over, or unknown."""
        self.operation, self._since = "", 0.0
        self._book.forget(self._id)

    def _write(self) -> None:
        where, id_ = self._where, self._id
        self._book.begin(id_, self._job, executor=where, where=where, operation=self.operation)
        note = self._book.note(id_)
        if note is not None and self._since:  # it began when the other process asked for it
            self._book.write(replace(note, since=self._since))
