"""Reasons: what of its own differs for a target whose definition is not the same."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlbuild.core.label import parse_label
from mlbuild.errors import InputError
from mlbuild.git.definition import own_facts
from mlbuild.git.revision import Revision
from mlbuild.git.tree import Difference
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.graph.package import Target
from mlbuild.graph.select import DEFAULT, Choice, Select
from mlbuild.graph.site import RULES
from mlbuild.workspace import MARKER

Kind = Literal["file", "BUILD.ml", "load", "lock", "image", "config"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that differs: what it is, and the file of the workspace that says so."""

    kind: Kind
    path: str  # relative to the workspace; undecodable bytes as surrogates


class Reasons:
    """Finds them, for two revisions and all that differs between their files."""

    def __init__(self, base: Revision, head: Revision, differences: Sequence[Difference]) -> None:
        self._revisions = (base, head)
        self._changed = {one.path: one for one in differences}
        self._actions = tuple(
            {action.id: action for action in one.plan.actions} for one in self._revisions
        )

    def own(self, label: str) -> list[Reason]:
        """Return what differs of the target itself; nothing where only its dependencies do."""
        old, new = self._declared(label)
        if old is None or new is None:
            return self._written(label, old, new) or self._come_and_gone(label)
        found = self._files(label, new)
        if self._facts(0, label) == self._facts(1, label):
            return found
        if _attributes(old) != _attributes(new):
            found += self._written(label, old, new)
            return found or self._come_and_gone(label)
        found += [Reason("load", path) for path in self._loaded(label)]
        if new.selects or self._salted():
            found += self._settings(new)
        return found

    def any(self, label: str) -> list[Reason]:
        """Return what may be the reason where nothing else is: the files that plans rest on."""
        _, new = self._declared(label)
        settings = self._settings(new) if new is not None else []
        found = [*self._build_file(label), *settings, *self._come_and_gone(label)]
        others = (path for path in self._changed if path.endswith((f"/{BUILD_FILE}", ".bzl")))
        return found or [Reason("file", path) for path in others] or self._first()

    def _first(self) -> list[Reason]:
        return [Reason("file", path) for path in list(self._changed)[:1]]

    def _declared(self, label: str) -> tuple[Target | None, Target | None]:
        """Return the target as it was declared before and after."""
        parsed = parse_label(label, package="")
        before, after = self._revisions
        return before.reading.declared(parsed), after.reading.declared(parsed)

    def _files(self, label: str, target: Target) -> list[Reason]:
        """Return those of the sources of a target that differ."""
        before, after = self._sources(0, label), self._sources(1, label)
        found: dict[Reason, None] = {}
        locks = set(_named(target, "lock"))
        for path in dict.fromkeys([*before, *after]):
            if before.get(path) == after.get(path):
                continue
            kind: Kind = "lock" if path in locks else "file"
            if "image" in target.rule.attributes:
                kind = "image"
            for cause in self._causes(path):
                found[Reason(kind, cause)] = None
        return list(found)

    def _sources(self, which: int, label: str) -> dict[str, str]:
        """Return what stands for each source that a target names itself."""
        revision = self._revisions[which]
        targets, sources = revision.plan.targets, revision.plan.sources
        planned = targets[label]
        paths = [*planned.outputs]
        for id_ in planned.actions:
            paths += self._actions[which][id_].inputs
        handed = {path for dep in planned.deps for path in targets[dep].outputs}
        return {
            path: revision.files.content(path)
            for path in paths
            if path in sources and path not in handed
        }

    def _facts(self, which: int, label: str) -> list[object]:
        """Return all that decides on a target, but for the bytes of its inputs."""
        revision = self._revisions[which]
        planned = revision.plan.targets[label]
        salt = revision.config.salt
        facts = [
            own_facts(self._actions[which][id_], content=lambda _: "", salt=salt)
            for id_ in planned.actions
        ]
        return [*facts, planned.outputs]

    def _written(self, label: str, old: Target | None, new: Target | None) -> list[Reason]:
        """Return the files that declare a target, where they differ."""
        loads = self._loaded(label)
        found = [*self._build_file(label), *(Reason("load", path) for path in loads)]
        images = [target.attributes.get("image") for target in (old, new) if target is not None]
        if found and len(images) > 1 and repr(images[0]) != repr(images[1]):
            return [Reason("image", one.path) for one in found]
        return found

    def _build_file(self, label: str) -> list[Reason]:
        package = label[2:].partition(":")[0]
        file = f"{package}/{BUILD_FILE}" if package else BUILD_FILE
        return [Reason("BUILD.ml", path) for path in self._causes(file)]

    def _loaded(self, label: str) -> list[str]:
        """Return the .bzl files behind the BUILD.ml of a target that differ."""
        package = label[2:].partition(":")[0]
        file = f"{package}/{BUILD_FILE}" if package else BUILD_FILE
        found: dict[str, None] = {}
        for revision in self._revisions:
            for path in revision.reading.loaded(file):
                if not path.startswith(RULES):
                    found.update(dict.fromkeys(self._causes(path)))
        return list(found)

    def _settings(self, target: Target) -> list[Reason]:
        """Return what decides on the selects of a target, where it differs."""
        before, after = (one.config for one in self._revisions)
        differ = self._salted() or before.flags != after.flags
        found = [Reason("config", MARKER)] if differ else []
        for name in target.selects:
            for text in _conditions(target.attributes[name]):
                label = parse_label(text, package=target.label.package)
                found += self._build_file(str(label))
        return list(dict.fromkeys(found))

    def _salted(self) -> bool:
        before, after = self._revisions
        return before.config.salt != after.config.salt

    def _come_and_gone(self, label: str) -> list[Reason]:
        """Return the files of a package that are new or gone: a glob may have seen them."""
        package = label[2:].partition(":")[0]
        below = f"{package}/" if package else ""
        return [
            Reason("file", path)
            for path, one in self._changed.items()
            if path.startswith(below) and not (one.old and one.new)
        ]

    def _causes(self, path: str) -> Iterator[str]:
        """Yield what differs at or below a path, or above: a link or submodule on the way."""
        places = dict.fromkeys([path, *(one.files.real(path) for one in self._revisions)])
        for place in places:
            if place is None:
                continue
            found = next((one for one in (place, *_above(place)) if one in self._changed), None)
            if found is not None:
                yield found
                return
        for place in places:
            below = [one for one in self._changed if place and one.startswith(f"{place}/")]
            if below:
                yield below[0] if len(below) == 1 else path
                return


def _above(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _attributes(target: Target) -> tuple[str, str, str]:
    """Return how a target is declared; 1 is not True here."""
    return target.rule.name, target.rule.path, repr(target.attributes)


def _named(target: Target, attribute: str) -> Iterator[str]:
    """Yield the paths of the files that a label attribute names, in any branch of a select."""
    for text in _branches(target.attributes.get(attribute)):
        try:
            label = parse_label(text, package=target.label.package)
        except InputError:
            continue  # it is no file
        yield f"{label.package}/{label.name}" if label.package else label.name


def _branches(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Select):
        return []
    choices = [part for part in value.parts if isinstance(part, Choice)]
    return [one for part in choices for _, one in part.branches if isinstance(one, str)]


def _conditions(value: Select) -> list[str]:
    choices = [part for part in value.parts if isinstance(part, Choice)]
    return [text for part in choices for text, _ in part.branches if text != DEFAULT]
