"""Baseline: what targets measured in another commit, where the cache still knows.

Nothing is checked out and nothing runs. The keys of that commit's actions follow from its files:
those that are the same on the disk are taken from there, the others are read from git.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlbuild.config import Config
from mlbuild.core.action import Json
from mlbuild.core.digest import Digest
from mlbuild.core.plan import Plan
from mlbuild.core.result import Content, Result
from mlbuild.errors import InputError
from mlbuild.git.objects import Objects
from mlbuild.git.repository import Repository
from mlbuild.git.revision import Source
from mlbuild.git.tree import TreeFiles, Trees
from mlbuild.invocation import Invocation
from mlbuild.sources import Sources
from mlbuild.stamps import StatIndex
from mlbuild.workspace import Workspace

UNKNOWN = Content("f", Digest("0" * 64, 0))  # bytes that nobody has: no result was made of them


def baseline(
    workspace: Workspace, config: Config, *, commit: str, labels: Sequence[str]
) -> dict[str, dict[str, Json]]:
    """Return the metrics of those of `labels` whose results in a commit are in the cache.

    Raises InputError or HostError where that commit cannot be read.
    """
    repository = Repository.holding(workspace.root, environ=config.environ).with_modules()
    with (
        Objects(repository) as objects,
        tempfile.TemporaryDirectory(prefix="mlbuild-base-") as scratch,
    ):
        trees = Trees(objects)
        source = Source(workspace, config, trees, repository.prefix, lambda _: None)
        revision = source.read(commit, commit, lambda reading: reading.known(labels, ""))
        past = PastSources(
            workspace,
            revision.files,
            objects=objects,
            trees=trees,
            changed=_changed(repository, commit),
            scratch=scratch,
        )
        patient = replace(revision.config, keep_going=True)
        silent = Invocation(workspace, patient, emit=lambda _: None)
        return _metrics(revision.plan, silent.recalled(revision.plan, past))


def _metrics(plan: Plan, results: Mapping[str, Result]) -> dict[str, dict[str, Json]]:
    found: dict[str, dict[str, Json]] = {}
    for label in plan.requested:
        for id_ in plan.targets[label].actions:
            result = results.get(id_)
            if result is not None and result.metrics is not None:
                found[label] = result.metrics
    return found


def _changed(repository: Repository, commit: str) -> frozenset[str]:
    """Return the paths, as the workspace has them, whose files on the disk are not the commit's."""
    words = (
        "diff",
        "--name-only",
        "-z",
        "--no-renames",
        "--relative",
        "--no-ext-diff",
        commit,
        "--",
    )
    out = repository.checked(*words).out
    return frozenset(os.fsdecode(one) for one in out.split(b"\0") if one)


class PastSources:
    """Digests of source artifacts as a commit has them."""

    def __init__(
        self,
        workspace: Workspace,
        files: TreeFiles,
        *,
        objects: Objects,
        trees: Trees,
        changed: frozenset[str],
        scratch: str,
    ) -> None:
        self._files = files
        self._objects = objects
        self._trees = trees
        self._changed = changed  # a submodule stands for all that is in it
        self._holding = frozenset(above for path in changed for above in _and_above(path))
        self._folder = os.path.join(scratch, "files")
        os.mkdir(self._folder)
        rules = StatIndex.open(workspace.rules_root(), state=os.path.join(scratch, "rules"))
        # The index of the workspace is read, and never saved from here.
        self._here = Sources(StatIndex.open(workspace.root), rules, tell=lambda *_: None)
        past = StatIndex.open(self._folder, state=os.path.join(scratch, "past"))
        self._past = Sources(past, rules, tell=lambda *_: None)

    def contents(self, paths: Mapping[str, str]) -> dict[str, Content]:
        """Return the Content of each path; UNKNOWN for what git and the disk have not."""
        same = {path: kind for path, kind in paths.items() if self._same(path)}
        past = {
            path: kind for path, kind in paths.items() if path not in same and self._write(path)
        }
        found = _known(self._here, same) | _known(self._past, past)
        return {path: found.get(path, UNKNOWN) for path in paths}

    def _same(self, path: str) -> bool:
        """Say whether the disk has what the commit has, or what no commit has."""
        if path.startswith("@rules/"):
            return True
        places = [path, self._files.real(path) or path]
        return not any(
            place in self._holding or not self._changed.isdisjoint(_and_above(place))
            for place in places
        )

    def _write(self, path: str) -> bool:
        """Write what the commit has at `path` where it can be hashed; say whether it has any."""
        entry = self._files.entry(path)
        place = os.path.join(self._folder, path)
        if entry is None or entry.kind not in {"file", "program", "folder"}:
            return False
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if entry.kind == "folder":
            self._write_folder(entry.id, place)
        else:
            self._write_file(entry.id, place, program=entry.kind == "program")
        return True

    def _write_folder(self, id_: str, place: str) -> None:
        os.makedirs(place, exist_ok=True)
        for name, entry in self._trees.folder(id_).items():
            below = os.path.join(place, name)
            if entry.kind == "folder":
                self._write_folder(entry.id, below)
            elif entry.kind == "link":
                os.symlink(self._trees.target(entry.id), below)
            elif entry.kind != "module":
                self._write_file(entry.id, below, program=entry.kind == "program")

    def _write_file(self, id_: str, place: str, *, program: bool) -> None:
        with open(place, "wb") as file:
            file.write(self._objects.read(id_).content or b"")
        os.chmod(place, 0o755 if program else 0o644)


def _and_above(path: str) -> Iterator[str]:
    """Yield a path, and the folders that it lies in."""
    while path:
        yield path
        path = os.path.dirname(path)


def _known(sources: Sources, paths: Mapping[str, str]) -> dict[str, Content]:
    """Return the Contents of those paths that can be read: data may be on another machine."""
    try:
        return sources.contents(paths)
    except InputError:
        found: dict[str, Content] = {}
        if len(paths) > 1:
            for path, kind in paths.items():
                found |= _known(sources, {path: kind})
        return found
