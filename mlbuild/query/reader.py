"""Reader: packages read from their BUILD.ml files, for queries that do not know them yet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlbuild.core.label import Label, parse_label
from mlbuild.errors import InputError, Span
from mlbuild.graph.loader import Loader
from mlbuild.graph.package import Package, Target
from mlbuild.graph.resolve import Resolver
from mlbuild.graph.schema import COMMON
from mlbuild.query.details import mentions, pack
from mlbuild.query.record import (
    BUILD_FILE,
    GENERATED,
    GROUP,
    SOURCE,
    Record,
    full_label,
    name_of,
    package_of,
    path_of,
)
from mlbuild.workspace import Workspace

_NOWHERE = Span("", 0, 0)


class Reader:
    """Reads each package at most once. `code` and `say` are those of the Loader.

    Where a label is asked for `by` a target, errors point at the place where that names it.
    """

    def __init__(self, workspace: Workspace, *, code: str, say: Callable[[str], None]) -> None:
        self._loader = Loader(workspace, code=code, say=say)
        self._resolver = Resolver(workspace, self._loader)
        self._rules_root = workspace.rules_root().rstrip("/") + "/"

    @property
    def library(self) -> list[str]:
        """The absolute paths of the files of the rule library that have been read."""
        return [one for one in self._loader.seen.files if one.startswith(self._rules_root)]

    def attributes(self) -> set[str]:
        """Return the names of all attributes of the rules that every BUILD.ml sees."""
        rules = self._loader.rules().values()
        return {*COMMON, *(name for rule in rules for name in rule.public)}

    def walk(self, path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the packages in and below a folder, and the folders that were looked at."""
        with self._noted() as folders:
            found = self._loader.packages_below(path)
            return tuple(found), tuple(sorted(folders))

    def record(self, path: str, *, wanted: str = "", by: str = "") -> Record:
        """Return the package of a folder; raise InputError where there is none or it is broken."""
        with self._asked(wanted, by) as (text, span), self._noted() as folders:
            package = self._loader.package(path, wanted=text, span=span)
            listed = tuple(sorted(folders))
        return _record(package, tuple(self._loader.loaded(package.file)), listed)

    def source(self, label: str, *, by: str) -> None:
        """Raise InputError where `label` names no source file or folder."""
        with self._asked(label, by) as (text, span):
            try:
                self._resolver.find(text, package=package_of(by), span=span or _NOWHERE)
            except InputError:
                if not self._is_odd(label):
                    raise

    def _is_odd(self, label: str) -> bool:
        """Say whether a file is there under a name that no label can have, as a glob may find."""
        try:
            parse_label(label, package="")
        except InputError:
            return self._loader.files.exists(path_of(label))
        return False

    @contextmanager
    def _asked(self, label: str, by: str) -> Iterator[tuple[str, Span | None]]:
        """Yield how the target `by` writes `label`, and where it is declared; place errors there.

        "" stands for the user, who has written `label` itself.
        """
        target = self._resolver.target(Label(package_of(by), name_of(by))) if by else None
        text = _written(target, label) if target is not None else label
        try:
            yield text, target.span if target is not None else None
        except InputError as error:
            if error.span is _NOWHERE:
                error.span = None
            elif target is not None and error.span is target.span:
                frames = (*target.stack, ("the file", target.span))
                error.span = self._resolver.site.place_of(text, frames, keyword=False)
                error.notes = (*error.notes, *(target.notes() if target.stack else ()))
            raise

    @contextmanager
    def _noted(self) -> Iterator[set[str]]:
        """Yield the folders that are looked at from now on; they stay noted for all."""
        folders = self._loader.seen.folders
        before = set(folders)
        folders.clear()
        try:
            yield folders
        finally:
            folders |= before


def _written(target: Target, label: str) -> str:
    """Return how a target writes a label that it names."""
    package = target.label.package
    words = (text for _, text in mentions(target) if full_label(text, package) == label)
    return next(words, label)


def _record(package: Package, loads: tuple[str, ...], folders: tuple[str, ...]) -> Record:
    """Return a package in plain values."""
    start = f"//{package.path}:"
    needs: dict[str, tuple[str, ...]] = {}
    explicit: dict[str, tuple[str, ...]] = {}
    kinds: dict[str, str] = {}
    for name, target in sorted(package.targets.items()):
        label = start + name
        own, hidden = _named(target)
        needs[label] = tuple({**own, **hidden})
        if len(needs[label]) > len(own):
            explicit[label] = tuple(own)
        kinds[label] = f"{target.rule.name} rule"
    targets = tuple(needs)
    for name, target in sorted(package.outputs.items()):
        if start + name not in needs:
            needs[start + name], kinds[start + name] = (str(target.label),), GENERATED
    for name in sorted(package.groups):
        needs[start + name], kinds[start + name] = (), GROUP
    for name in (BUILD_FILE, *sorted(package.exports)):
        if start + name not in needs:
            needs[start + name], kinds[start + name] = (), SOURCE
    named = {one for label in targets for one in needs[label] if one.startswith(start)}
    return Record(
        package.path,
        targets,
        needs,
        explicit,
        kinds,
        _places(package),
        tuple(sorted(named - needs.keys())),
        loads,
        folders,
        pack(package),
    )


def _places(package: Package) -> dict[str, tuple[int, int]]:
    declared = [(one.label, one.span) for one in package.targets.values()]
    declared += [(one.label, one.span) for one in package.groups.values()]
    return {str(label): (span.line, span.column) for label, span in declared}


def _named(target: Target) -> tuple[dict[str, None], dict[str, None]]:
    """Return the labels that a target names itself, and those of its private attributes."""
    own: dict[str, None] = {}
    hidden: dict[str, None] = {}
    for attribute, text in mentions(target):
        found = hidden if attribute.startswith("_") else own
        found[full_label(text, target.label.package)] = None
    own.pop(str(target.label), None)
    return own, hidden
