"""A workspace from texts, loaded and analysed without building anything."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlbuild.core.label import parse_pattern
from mlbuild.core.plan import Plan
from mlbuild.errors import InputError
from mlbuild.graph.analyze import Analyzer
from mlbuild.graph.loader import Loader
from mlbuild.graph.package import Target
from mlbuild.graph.resolve import Resolver
from mlbuild.workspace import Workspace


class Graph:
    """Files by path; asked for targets and plans, it reads them anew."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file("mlbuild.toml", "[workspace]\n")

    def file(self, path: str, text: str = "") -> "Graph":
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return self

    def resolver(self) -> Resolver:
        workspace = Workspace(str(self.root))
        code = str(self.root.parent.parent / "code")  # of all tests of a session
        return Resolver(workspace, Loader(workspace, code=code, say=print))

    def targets(self, *patterns: str) -> dict[str, Target]:
        resolver = self.resolver()
        labels = resolver.select([parse_pattern(one, package="") for one in patterns], print)
        return {str(label): resolver.target(label) for label in labels}

    def plan(self, *patterns: str, flags: Mapping[str, str] | None = None) -> Plan:
        resolver = self.resolver()
        given = {name: (value,) for name, value in (flags or {}).items()}
        labels = resolver.select([parse_pattern(one, package="") for one in patterns], print)
        return Analyzer(resolver, flags=given).plan(labels)

    def refused(self, *patterns: str, flags: Mapping[str, str] | None = None) -> InputError:
        with pytest.raises(InputError) as caught:
            self.plan(*(patterns or ("//...",)), flags=flags)
        return caught.value

    def shown(self, error: InputError) -> str:
        """Return `path:line: word` of the place that an error points at."""
        span = error.span
        assert span is not None
        line = (self.root / span.path).read_text().splitlines()[span.line - 1]
        return f"{span.path}:{span.line}: {line[span.column - 1 :][: span.length]}"
