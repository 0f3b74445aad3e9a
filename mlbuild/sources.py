"""Sources: digests of the files that nobody makes, the workspace's and the rules' own."""

from collections.abc import Callable, Mapping

from mlbuild.core.result import Content
from mlbuild.progress import Progress
from mlbuild.stamps import StatIndex


class Sources:
    """Digests of source artifacts: the workspace's, and the rules' own, by stat index."""

    def __init__(
        self, index: StatIndex, rules: StatIndex, *, tell: Callable[[int, int], None]
    ) -> None:
        self._index = index
        self._rules = rules
        self._tell = tell  # hears how many files and bytes were hashed, where that takes long

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
        return found

    def save(self) -> None:
        """Keep what was learned of both."""
        self._index.save()
        self._rules.save()

    def changed(self, paths: list[str]) -> list[str]:
        """Return those of `paths` whose files are not those that were hashed."""
        return self._index.changed([path for path in paths if not path.startswith("@rules/")])
