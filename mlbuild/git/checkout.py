"""Checkout: the files of one commit in a folder of their own, while something is built there.

It is a working tree of git, detached, which `git worktree list` shows as long as it lasts.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlbuild.errors import HostError
from mlbuild.git.repository import Repository, last_line

_QUIETLY = (  # no hooks, all files
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.sparseCheckout=false"),
    *("-c", "advice.detachedHead=false"),
)


class Checkout:
    """A folder that is empty until `fill` is called."""

    def __init__(self, repository: Repository, folder: str, *, commit: str) -> None:
        self.folder = folder
        self._repository = repository
        self._commit = commit

    def fill(self) -> None:
        """Bring the files of the commit; raise HostError where git cannot."""
        words = ("reset", "--hard", "--quiet", self._commit)
        _run(self._repository, "-C", self.folder, *words)

    def bring(self, path: str, *, source: str) -> None:
        """Bring a file or folder at `source` that git does not have; `path` is where it belongs.

        It is linked where the disk can, else copied: whoever builds here only reads it.
        """
        place = os.path.join(self.folder, path)
        if os.path.lexists(place) or not os.path.exists(source):
            return
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if os.path.isdir(source):
                shutil.copytree(source, place, symlinks=True, copy_function=_linked)
            else:
                _linked(os.path.realpath(source), place)
        except (OSError, shutil.Error) as error:
            raise HostError(f"cannot bring `{source}` to `{place}`: {error}") from error


@contextmanager
def checkout(repository: Repository, commit: str, *, place: str) -> Iterator[Checkout]:
    """Yield a folder for a commit at an absolute `place`, which is gone afterwards."""
    remove(repository, place)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    words = ("worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", place, commit)
    _run(repository, *words)
    try:
        yield Checkout(repository, place, commit=commit)
    finally:
        remove(repository, place)


def remove(repository: Repository, place: str) -> None:
    """Remove a checkout, or what a killed process has left of one."""
    if not os.path.lexists(place):
        return
    if os.path.lexists(os.path.join(place, ".git")):
        # Twice: git does not remove one that is locked, as it is while being made.
        repository.run("worktree", "remove", "--force", "--force", place)
    with suppress(OSError):
        shutil.rmtree(place)


def _run(repository: Repository, *words: str) -> None:
    answer = repository.run(*_QUIETLY, *words)
    if answer.code:
        raise HostError(f"git cannot make a checkout: {last_line(answer.said)}")


def _linked(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
