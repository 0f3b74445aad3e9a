"""Resolver: what a label names: a target, an output of one, or a source file."""

import os.path
from collections.abc import Callable
from dataclasses import dataclass

from mlbuild.core.label import Label, Pattern, parse_label
from mlbuild.errors import InputError, Span, did_you_mean
from mlbuild.graph.files import Kind, names_in
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.graph.loader import Loader
from mlbuild.graph.package import Package, Target, Unsure
from mlbuild.graph.site import RULES, Site
from mlbuild.graph.visibility import EVERYONE, PackageGroup
from mlbuild.workspace import Workspace


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file or folder of the workspace (or of @rules) that a label names."""

    path: str  # as an action sees it
    kind: Kind
    short: str  # relative to its package
    package: str = ""
    visibility: tuple[str, ...] = EVERYONE


@dataclass(frozen=True, slots=True)
class TargetOutput:
    """One output of a target, named by a label of its own."""

    target: Target
    path: str


class Resolver:
    """Finds what labels and patterns name, loading packages as they are needed."""

    def __init__(self, workspace: Workspace, loader: Loader) -> None:
        self._files = loader.files
        self._rules_root = workspace.rules_root()
        self._loader = loader

    @property
    def site(self) -> Site:
        """Where texts of files are found, for pointing into them."""
        return self._loader.site

    def group(self, label: Label) -> PackageGroup:
        """Return the package group that `label` names."""
        package = self._loader.package(label.package, wanted=str(label))
        found = package.groups.get(label.name)
        if found is None and not package.whole:
            raise Unsure(f"package_group `{label}` is not known")
        if found is None:
            raise InputError(
                f"there is no package_group `{label}`",
                hints=did_you_mean(label.name, list(package.groups))
                or ("visibility is `//models:__pkg__`, `//models:__subpackages__` or a group",),
                kind="unknown-target",
            )
        return found

    def package(self, path: str) -> Package:
        """Return the package of the folder `path`."""
        return self._loader.package(path)

    def target(self, label: Label) -> Target:
        """Return the target that `label` names; a word of the command line, so without a place."""
        package = self._loader.package(label.package, wanted=str(label))
        found = package.targets.get(label.name) or package.outputs.get(label.name)
        if found is None and "/" in label.name:
            found = package.targets.get(label.name.partition("/")[0])
        if found is None:
            raise self._unknown(label, package, span=None)
        return found

    def find(self, text: str, *, package: str, span: Span) -> Target | TargetOutput | SourceFile:
        """Return what the label `text` names as seen from `package`."""
        if text.startswith(RULES):
            return self._rules_file(text, span)
        label = parse_label(text, package=package, span=span)
        home = self._loader.package(label.package, span=span, wanted=text)
        found = home.targets.get(label.name)
        if found is not None:
            return found
        claimed = home.outputs.get(label.name)
        if claimed is not None:
            return TargetOutput(claimed, label.name)
        at = label.name.find("/")
        while at > 0:
            target = home.targets.get(label.name[:at])
            if target is not None:
                return TargetOutput(target, label.name[at + 1 :])
            at = label.name.find("/", at + 1)
        file = self._file(label, home, span)
        if file is None:
            raise self._unknown(label, home, span=span)
        return file

    def select(self, patterns: list[Pattern], warn: Callable[[str], None]) -> list[Label]:
        """Return the labels that patterns select, sorted within each, without those excluded."""
        chosen: dict[Label, None] = {}
        for pattern in patterns:
            found = self._matching(pattern)
            if pattern.negative:
                for label in found:
                    chosen.pop(label, None)
            else:
                if not found:
                    warn(f"`{pattern}` selects no target")
                chosen.update(dict.fromkeys(found))
        return list(chosen)

    def _matching(self, pattern: Pattern) -> list[Label]:
        if pattern.name is not None:
            return [self.target(Label(pattern.package, pattern.name)).label]
        if pattern.recursive:
            if pattern.package and not self._files.is_folder(pattern.package):
                raise InputError(
                    f"there is no folder `{pattern.package}` in the workspace",
                    hints=did_you_mean(pattern.package, self._loader.packages_below("")),
                )
            paths = self._loader.packages_below(pattern.package)
        else:
            paths = [pattern.package]
        return [
            Label(path, name)
            for path in paths
            for name in sorted(self._loader.package(path, wanted=str(pattern)).targets)
        ]

    def _rules_file(self, text: str, span: Span) -> SourceFile:
        name = text.removeprefix(RULES).replace(":", "/").lstrip("/")
        safe = not any(part in {"", ".", ".."} for part in name.split("/"))
        if not safe or not os.path.isfile(os.path.join(self._rules_root, name)):
            raise InputError(f"there is no file `{text}`", span=span, kind="missing-file")
        return SourceFile(f"@rules/{name}", "file", name)

    def _file(self, label: Label, home: Package, span: Span) -> SourceFile | None:
        path = f"{label.package}/{label.name}" if label.package else label.name
        parts = label.name.split("/")
        for count in range(1, len(parts)):
            below = "/".join(parts[:count])
            folder = f"{label.package}/{below}" if label.package else below
            self._loader.listed(folder)
            if self._files.exists(f"{folder}/{BUILD_FILE}"):
                raise InputError(
                    f"`{label}` lies in another package, `//{folder}`",
                    span=span,
                    hints=(f"write `//{folder}:{'/'.join(parts[count:])}`",),
                    kind="missing-file",
                )
        kind: Kind | None = "file"
        if self._files.is_folder(path):
            kind = "tree"
            self._loader.listed(path)
        elif not self._files.exists(path):
            kind = self._files.elsewhere(path)
        if kind is None:
            return None
        return SourceFile(path, kind, label.name, home.path, home.shows(label.name))

    def _unknown(self, label: Label, package: Package, *, span: Span | None) -> InputError:
        first = label.name.partition("/")[0]
        if not package.whole or label.name in package.broken or first in package.broken:
            return Unsure(f"`{label}` is not known", span=span)
        self._loader.listed(package.path)
        prefix = os.path.dirname(label.name)
        below = "/".join(part for part in (package.path, prefix) if part)
        files = names_in(self._files, below)
        names = [f"{prefix}/{name}" if prefix else name for name in files]
        hints = did_you_mean(label.name, [*package.targets, *package.outputs, *names])
        if not hints and package.targets:
            hints = (f"its targets are: {', '.join(sorted(package.targets)[:12])}",)
        if label.name in package.groups:
            return InputError(
                f"`{label}` is a package_group, which stands in `visibility` only",
                span=span,
                kind="unknown-target",
            )
        what = "target" if span is None else "target or file"
        return InputError(
            f"no {what} `{label.name}` in package `//{package.path}`",
            span=span,
            hints=hints,
            kind="missing-file" if "." in label.name else "unknown-target",
        )
