"""Updates: which branches moved, and from where to where, as git tells its hooks."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlbuild.git.repository import Repository

NEW = "0" * 40  # as a base: all counts as new
_SILENT = ("refs/tags/", "refs/notes/")  # what they name is pushed with a branch
_MOST = 1000  # branches of a server that are looked at for what it has already


@dataclass(frozen=True, slots=True)
class Update:
    """A branch that moved. `base` and `head` are ids of commits; `base` is NEW for nothing."""

    ref: str
    base: str
    head: str

    @property
    def branch(self) -> str:
        """The name of the branch for people."""
        return self.ref.removeprefix("refs/heads/")


def pushed(repository: Repository, told: bytes, *, remote: str) -> list[Update]:
    """Return the branches that a push to `remote` moves; `told` is what pre-push reads on stdin.

    Raises InputError for what is not that.
    """
    found: list[Update] = []
    for _, head, ref, base in _lines(told, 4):
        if not _counts(ref, head):
            continue
        known = base if _is_here(repository, base) else ""
        tips = _tips(repository, f"refs/remotes/{remote}") if not known else []
        found.append(Update(ref, known or _nearest(repository, head, tips), head))
    return found


def received(repository: Repository, told: bytes) -> list[Update]:
    """Return the branches that a push has moved here; `told` is what post-receive reads on stdin.

    Raises InputError for what is not that.
    """
    moved = [(base, head, ref) for base, head, ref in _lines(told, 3) if _counts(ref, head)]
    names = {ref for _, _, ref in moved}
    found: list[Update] = []
    for base, head, ref in moved:
        known = base if _is_here(repository, base) else ""
        tips = _tips(repository, "refs/heads", without=names) if not known else []
        found.append(Update(ref, known or _nearest(repository, head, tips), head))
    return found


def committed(repository: Repository) -> list[Update]:
    """Return what the commit that was just made moved."""
    return _moved(repository, "HEAD^")


def merged(repository: Repository, *, squashed: bool) -> list[Update]:
    """Return what the merge that was just made moved: nothing where it is not committed yet."""
    return [] if squashed else _moved(repository, "ORIG_HEAD")


def _moved(repository: Repository, before: str) -> list[Update]:
    head = _id(repository, "HEAD")
    base = _id(repository, before) or NEW
    if not head or base == head:
        return []
    ref = repository.run("symbolic-ref", "--quiet", "HEAD").line() or "HEAD"
    return [Update(ref, base, head)]


def _lines(told: bytes, count: int) -> Iterator[list[str]]:
    """Yield the words of each line that has `count` of them."""
    for line in told.splitlines():
        words = os.fsdecode(line).split(" ")
        if len(words) == count:
            yield words


def _counts(ref: str, head: str) -> bool:
    """Say whether a reference is there afterwards and is one that something is built for."""
    return head.strip("0") != "" and not ref.startswith(_SILENT)


def _is_here(repository: Repository, id_: str) -> bool:
    return id_.strip("0") != "" and bool(_id(repository, id_))


def _id(repository: Repository, revision: str) -> str:
    return repository.run(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    ).line()


def _tips(repository: Repository, below: str, *, without: "set[str] | None" = None) -> list[str]:
    """Return the newest commits of the branches below a name."""
    words = ("--sort=-committerdate", f"--count={_MOST}", "--format=%(objectname) %(refname)")
    lines = os.fsdecode(repository.run("for-each-ref", *words, below).out).splitlines()
    pairs = [line.partition(" ") for line in lines]
    return [id_ for id_, _, ref in pairs if ref not in (without or set())]


def _nearest(repository: Repository, head: str, tips: Sequence[str]) -> str:
    """Return the newest commit before `head` that one of `tips` has too, NEW for none."""
    if not tips:
        return NEW
    return repository.run("merge-base", head, *tips).line().partition("\n")[0] or NEW
