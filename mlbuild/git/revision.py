"""Revision: a workspace as one commit has it, read without a checkout."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlbuild.config import Config
from mlbuild.core.action import Verify
from mlbuild.core.label import Label
from mlbuild.core.plan import Plan
from mlbuild.errors import InputError, Span
from mlbuild.git.definition import Definitions, definitions_of
from mlbuild.git.tree import Difference, TreeFiles, Trees
from mlbuild.graph.files import Kind
from mlbuild.graph.site import RULES
from mlbuild.plans import Planned
from mlbuild.reading import Reading
from mlbuild.workspace import LOCAL, MARKER, Workspace

SETTINGS = (MARKER, LOCAL)
_SHORT = 12  # digits of a commit in messages
Choose = Callable[[Reading], Sequence[Label]]


@dataclass(frozen=True, slots=True)
class Revision:
    """A workspace in one revision: its files, its settings and what building it takes."""

    files: TreeFiles
    config: Config
    reading: Reading
    planned: Planned
    definitions: Definitions

    @property
    def plan(self) -> Plan:
        """What building it takes."""
        return self.planned.plan


@dataclass(frozen=True, slots=True)
class Source:
    """Where a revision is read from."""

    workspace: Workspace
    config: Config  # of this run, for what its words and variables say
    trees: Trees
    prefix: str  # of the workspace in the repository
    say: Callable[[str], None]

    def read(self, name: str, commit: str, choose: Choose) -> Revision:
        """Return the workspace in the commit that the user calls `name`.

        `choose` says which targets count. Raises InputError, which names the revision, for what is
        wrong in its files.
        """
        root = self.trees.root(commit, self.prefix)
        try:
            return self._read(root, choose, stated=None)
        except InputError as error:
            raise self._within(error, root, name, commit) from error

    def like(
        self, other: Revision, name: str, commit: str, differences: Sequence[Difference]
    ) -> Revision | None:
        """Return the workspace in a commit that differs from another as little as `differences`.

        None where that takes reading it all. Raises InputError like `read`.
        """
        if not all(one.edited for one in differences):
            return None
        root = self.trees.root(commit, self.prefix)
        try:
            return self._like(other, root, frozenset(one.path for one in differences))
        except InputError as error:
            raise self._within(error, root, name, commit) from error

    def _like(self, other: Revision, root: str, changed: frozenset[str]) -> Revision | None:
        """Return the workspace of a tree in which only the contents of some files differ."""
        if any(other.files.real(path) in changed for path in SETTINGS):
            return None
        edited = [path for path in self._read_for(other) if other.files.real(path) in changed]
        files = TreeFiles(self.trees, root, elsewhere=_elsewhere(self.workspace.root, None))
        reading: Reading = other.reading
        planned: Planned | None = other.planned
        if edited:
            reading = Reading(self.workspace, other.config, say=self.say, files=files)
            places = [os.path.join(self.workspace.root, path) for path in edited]
            planned = reading.patched(other.planned, places)
        if planned is None:
            return None
        salt = other.config.salt
        definitions = definitions_of(planned.plan, content=files.content, salt=salt)
        return Revision(files, other.config, reading, planned, definitions)

    def _read_for(self, revision: Revision) -> Iterator[str]:
        """Yield the BUILD.ml and .bzl files of the workspace that a plan was read from."""
        above = self.workspace.root.rstrip("/") + "/"
        for path in revision.planned.files:
            if path.startswith(above):
                yield path[len(above) :]

    def _read(self, root: str, choose: Choose, *, stated: frozenset[str] | None) -> Revision:
        """Read a tree; `stated` are the sources that it may lack, None while that is not known."""
        files = TreeFiles(self.trees, root, elsewhere=_elsewhere(self.workspace.root, stated))
        if not files.exists(MARKER):
            raise InputError(f"there is no workspace: no `{self._shown(MARKER)}`")
        ours = {name: files.read(name) for name in SETTINGS if files.exists(name)}
        config = self.config.with_files(self.workspace.root, ours)
        reading = Reading(self.workspace, config, say=self.say, files=files)
        planned = reading.plan_of(choose(reading))
        if stated is None and files.missing:
            known = frozenset(
                path
                for action in planned.plan.actions
                if isinstance(action.does, Verify)
                for path in action.inputs
            )
            if any(self._lost(path, files, known) for path in files.missing):
                return self._read(root, choose, stated=known)  # which says what is missing, where
            self._warn(files, known)
        definitions = definitions_of(planned.plan, content=files.content, salt=config.salt)
        return Revision(files, config, reading, planned, definitions)

    def _lost(self, path: str, files: TreeFiles, stated: frozenset[str]) -> bool:
        """Say whether a source that git lacks is nowhere."""
        return (
            path not in stated
            and files.module(path) is None
            and not os.path.lexists(os.path.join(self.workspace.root, path))
        )

    def _warn(self, files: TreeFiles, stated: frozenset[str]) -> None:
        """Tell of sources that git lacks and whose content nobody states."""
        for path in files.missing:
            if path not in stated and files.module(path) is None:
                self.say(
                    f"`{path}` is not in git: whether it changes cannot be told "
                    "unless its dataset states its `digest`"
                )

    def _shown(self, path: str) -> str:
        """Return a path of the workspace as the repository has it."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def _within(self, error: InputError, root: str, name: str, commit: str) -> InputError:
        """Return `error` with the revision in which its place lies."""
        short = commit[:_SHORT]
        span, source = error.span, error.source
        if span is not None and not span.path.startswith(RULES) and not source:
            files = TreeFiles(self.trees, root, elsewhere=lambda _: None)
            source = files.text(span.path)
            place = f"{short}:{self._shown(span.path)}"  # as `git show` takes it
            span = Span(place, span.line, span.column, span.length)
        note = f"in revision `{name}`" + ("" if short in {"", name} else f", commit {short}")
        stated = ("data that is kept out of git needs a dataset that states its `digest`",)
        return InputError(
            error.message,
            span=span,
            hints=(*error.hints, *(stated if error.kind == "missing-file" else ())),
            notes=(*error.notes, note),
            kind=error.kind,
            source=source,
        )


def _elsewhere(root: str, stated: frozenset[str] | None) -> Callable[[str], Kind | None]:
    """Return what says of a source that a revision lacks what it is.

    It may lie on the disk and not be in git, or nowhere, where its digest is stated. While it is
    not known which are (`stated` is None), all may be that look like files.
    """

    def found(path: str) -> Kind | None:
        place = os.path.join(root, path)
        if os.path.lexists(place):
            return "tree" if os.path.isdir(place) else "file"
        looks = "." in path.rpartition("/")[2] if stated is None else path in stated
        return "file" if looks else None

    return found
