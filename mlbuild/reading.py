"""Reading: from patterns to targets and plans. Only this file sees the front of mlbuild."""

import os
from collections.abc import Callable, Sequence

from mlbuild.config import Config
from mlbuild.core.label import Label, Pattern, parse_pattern
from mlbuild.graph.analyze import Analyzer
from mlbuild.graph.files import Files
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.graph.loader import Loader
from mlbuild.graph.package import Target
from mlbuild.graph.patch import patched, shapes
from mlbuild.graph.resolve import Resolver
from mlbuild.plans import Planned
from mlbuild.workspace import Workspace


class Reading:
    """The graph of a workspace, as far as it has been read.

    `say` hears what `print` says in files, and of patterns that select nothing. `files` are read
    instead of those on the disk.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: Config,
        *,
        say: Callable[[str], None],
        files: Files | None = None,
    ) -> None:
        self._root = workspace.root
        self._flags = config.flags
        self._say = say
        code = os.path.join(config.cache_dir, "code")
        self._loader = Loader(workspace, code=code, say=say, files=files)
        self._resolver = Resolver(workspace, self._loader)
        self.complete = True  # whether every pattern has selected something

    def targets(self, patterns: Sequence[str], package: str) -> list[Target]:
        """Return the targets that patterns select as they are declared: selects are open."""
        return [self._resolver.target(label) for label in self.labels(patterns, package)]

    def labels(self, patterns: Sequence[str], package: str) -> list[Label]:
        """Return the labels that patterns, seen from `package`, select."""

        def warn(text: str) -> None:
            self.complete = False
            self._say(text)

        parsed = [parse_pattern(text, package=package) for text in patterns]
        return self._resolver.select(parsed, warn)

    def plan(self, patterns: Sequence[str], package: str) -> Planned:
        """Return what building the targets takes that patterns, seen from `package`, select."""
        return self.plan_of(self.labels(patterns, package))

    def plan_of(self, labels: Sequence[Label]) -> Planned:
        """Return what building `labels` takes."""
        analyzer = Analyzer(self._resolver, flags=self._flags)
        plan = analyzer.plan(labels)
        return Planned(
            plan,
            files=tuple(sorted(self._loader.seen.files)),
            folders=tuple(sorted(self._loader.seen.folders)),
            shapes=shapes(analyzer.analyzed, self._loader.packages),
        )

    def declared(self, label: Label) -> Target | None:
        """Return a target as it is declared, None where its package has no such target."""
        if not self._loader.has_package(label.package):
            return None
        return self._loader.package(label.package).targets.get(label.name)

    def loaded(self, file: str) -> list[str]:
        """Return all .bzl files that a BUILD.ml which has been read loads, and that they load."""
        return self._loader.loaded(file)

    def known(self, patterns: Sequence[str], package: str) -> list[Label]:
        """Return the labels that patterns select; what they name and is not there is left out."""
        parsed = [parse_pattern(text, package=package) for text in patterns]
        here = [one for one in parsed if self._is_there(one)]
        return self._resolver.select(here, lambda _: None)

    def _is_there(self, pattern: Pattern) -> bool:
        """Say whether there is what `pattern` names."""
        if pattern.recursive:
            return not pattern.package or self._loader.files.is_folder(pattern.package)
        if not self._loader.has_package(pattern.package):
            return False
        package = self._loader.package(pattern.package)
        name = pattern.name
        return name is None or any(
            one in package.targets or one in package.outputs for one in (name, name.split("/")[0])
        )

    def patched(self, kept: Planned, edited: Sequence[str]) -> Planned | None:
        """Return a kept plan after edits of the files `edited`; None where that takes a new one."""
        packages: list[str] = []
        for file in edited:
            folder, _, name = os.path.relpath(file, self._root).rpartition("/")
            if name != BUILD_FILE:
                return None  # who loads a .bzl file, and what it means there, is not known
            packages.append(folder)
        found = patched(
            kept.plan, kept.shapes, packages, resolver=self._resolver, flags=self._flags
        )
        if found is None:
            return None
        seen = self._loader.seen
        files, folders = {*kept.files, *seen.files}, {*kept.folders, *seen.folders}
        return Planned(found[0], tuple(sorted(files)), tuple(sorted(folders)), found[1])
