"""Snapshot: the files as they are, committed or not, as a tree that git can read.

Its objects lie in a temporary folder; the repository and its index stay as they are.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from mlbuild.errors import HostError, InputError
from mlbuild.git.repository import Repository, last_line


@contextmanager
def snapshot(repository: Repository) -> Iterator[tuple[Repository, str]]:
    """Yield the repository with what is new in it, and the id of the tree of all its files.

    What git ignores is left out, what is not yet added is not. Raises InputError where there are
    no files, HostError where git cannot read one.
    """
    if repository.run("rev-parse", "--is-inside-work-tree").line() != "true":
        raise InputError(
            f"`{repository.folder}` has no files, only commits: it is a bare repository"
        )
    with tempfile.TemporaryDirectory(prefix="mlbuild-snapshot-") as folder:
        objects, index = os.path.join(folder, "objects"), os.path.join(folder, "index")
        os.mkdir(objects)
        known = repository.place("index")
        if os.path.exists(known):
            # With its time: a file that is as young as the index is compared by content.
            shutil.copy2(known, index)
        seen = repository.extended(
            {
                "GIT_INDEX_FILE": index,
                "GIT_OBJECT_DIRECTORY": objects,
            }
            | repository.alternates(repository.place("objects"))
        )
        added = seen.run("-c", "core.compression=0", "add", "--all", "--", ".")
        if added.code:
            raise HostError(f"git cannot read the files as they are: {last_line(added.said)}")
        # Of a partial clone, not all objects are here.
        yield seen, seen.checked("write-tree", "--missing-ok").line()
