"""Staged: what is wrong with files that are about to be committed."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlbuild.check.check import check
from mlbuild.check.problem import Problem
from mlbuild.config import Config, load
from mlbuild.errors import InputError, MlbuildError
from mlbuild.git.clone import Clone
from mlbuild.git.repository import Repository
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.format import formatted
from mlbuild.workspace import Workspace

_LIBRARY = ".bzl"


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong in one workspace."""

    root: str  # of the workspace
    problems: tuple[Problem, ...]  # in the files that are asked for
    elsewhere: int  # errors in other files


def staged_files(clone: Clone, *, index: str) -> list[str]:
    """Return the paths, seen from the top, of files that the next commit adds or changes.

    `index` is the file that git uses for this commit, "" for the usual one.
    """
    words = ("diff", "--cached", "--name-only", "-z", "--diff-filter=ACMRT", "--no-ext-diff")
    answer = _with_index(clone.repository, index).run("-C", clone.top, *words)
    return [os.fsdecode(path) for path in answer.out.split(b"\0") if path]


def unformatted(
    clone: Clone, paths: Iterable[str], *, index: str
) -> Iterator[tuple[str, MlbuildError | None]]:
    """Yield those of staged files that `mlbuild fmt` would change, or cannot read, and why.

    What is staged counts, not what lies in the folder.
    """
    repository = _with_index(clone.repository, index)
    for path in paths:
        if os.path.basename(path) != BUILD_FILE and not path.endswith(_LIBRARY):
            continue
        answer = repository.run("cat-file", "blob", f":{path}")
        dialect = Dialect.BZL if path.endswith(_LIBRARY) else Dialect.BUILD
        try:
            if not answer.code and formatted(answer.out, path, dialect=dialect) != answer.out:
                yield path, None
        except InputError as error:
            yield path, error


def checked(
    paths: Sequence[str], *, environ: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[Found]:
    """Yield what is wrong in each workspace that holds one of the absolute `paths`."""
    by_root: dict[str, set[str]] = {}
    for path in paths:
        try:
            root = Workspace.find(os.path.dirname(path)).root
        except InputError:
            continue
        by_root.setdefault(root, set()).add(os.path.relpath(path, root))
    for root, ours in by_root.items():
        config: Config = load(root, environ=environ, flags={})
        found = check(
            Workspace(root),
            ("//...",),
            package="",
            flags=config.flags,
            code=os.path.join(config.cache_dir, "code"),
            say=say,
        ).problems
        errors = [one for one in found if one.severity == "error"]
        here = [one for one in found if one.span is None or one.span.path in ours]
        yield Found(root, tuple(here), len([one for one in errors if one not in here]))


def _with_index(repository: Repository, index: str) -> Repository:
    return repository.extended({"GIT_INDEX_FILE": index}) if index else repository
