"""Sources: digests of the files that nobody makes, the workspace's and the rules' own."""

import os
from collections.abc import Callable, Mapping

from mlbuild.config import Config
from mlbuild.core.event import Event, Hashing
from mlbuild.core.result import Content
from mlbuild.progress import Progress
from mlbuild.stamps import StatIndex
from mlbuild.workspace import Workspace


class Sources:
    """Digests of source artifacts: the workspace's, and the rules' own, by stat index."""

    def __init__(
        self, index: StatIndex, rules: StatIndex, *, tell: Callable[[int, int], None]
    ) -> None:
        self._index = index
        self._rules = rules
        self._tell = tell  # hears how many files and bytes were hashed, where that takes long
        self._first: dict[str, Content] = {}
        self._steady = True

    @property
    def index(self) -> StatIndex:
        """The index of the workspace's files."""
        return self._index

    def steady(self) -> dict[str, Content] | None:
        """Return the contents that were given out; None when some were not always the same."""
        return self._first if self._steady else None

    def contents(self, paths: Mapping[str, str]) -> dict[str, Content]:
        """Return the Content of each path; the values of `paths` say "file" or "tree"."""
        found: dict[str, Content] = {}
        progress = Progress(self._tell)
        rules = [path for path in paths if path.startswith("@rules/")]
        found |= {
            f"@rules/{path}": one
            for path, one in self._rules.files(path[7:] for path in rules).items()
        }
        found |= self._index.files(
            (path for path, kind in paths.items() if kind == "file" and path[0] != "@"),
            progress=progress,
        )
        found |= {
            path: self._index.tree(path, progress=progress)
            for path, kind in paths.items()
            if kind == "tree"
        }
        for path, content in found.items():
            if self._first.setdefault(path, content) != content:
                self._steady = False
        return found

    def save(self) -> None:
        """Keep what was learned of both."""
        self._index.save()
        self._rules.save()

    def changed(self, paths: list[str]) -> list[str]:
        """Return those of `paths` whose files are not those that were hashed."""
        return self._index.changed([path for path in paths if not path.startswith("@rules/")])


def open_sources(workspace: Workspace, config: Config, *, emit: Callable[[Event], None]) -> Sources:
    """Return the sources of a workspace, with the digests that earlier builds took."""
    rules = os.path.join(config.cache_dir, "rules-index")
    return Sources(
        StatIndex.open(workspace.root),
        StatIndex.open(workspace.rules_root(), state=rules),
        tell=lambda files, size: emit(Hashing(files, size)),
    )
