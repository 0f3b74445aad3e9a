"""A workspace from texts that queries are asked of, in this process."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mlbuild.errors import InputError
from mlbuild.query.evaluate import Answers, Evaluator, Some
from mlbuild.query.order import ordered
from mlbuild.query.parse import parse
from mlbuild.query.reader import Reader
from mlbuild.query.record import Record
from mlbuild.query.show import FORMS, Found
from mlbuild.query.universe import Universe
from mlbuild.query.words import query_text
from mlbuild.workspace import Workspace


class Asked:
    """Files by path. Each query is a run of its own, which finds what those before have kept."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = ""
        self.said: list[str] = []
        self.faults: list[InputError] = []
        self.read: list[str] = []  # packages that had to be read, by all queries
        self.affected: Callable[[str], Iterable[str]] = lambda _: ()
        self.stale: Callable[[Some], Iterable[str]] = lambda _: ()
        self.cached: Callable[[Some], Iterable[str]] = lambda _: ()
        if not (root / "mlbuild.toml").exists():
            self.file("mlbuild.toml", "[workspace]\n")

    def file(self, path: str, text: str | bytes = "") -> "Asked":
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def __call__(self, *words: str, order: str = "auto") -> list[str]:
        """Return the labels that a query finds."""
        return self.shown(*words, order=order, output="label")

    def shown(
        self,
        *words: str,
        output: str,
        order: str = "auto",
        keep_going: bool = False,
        implicit: bool = False,
    ) -> list[str]:
        """Return the lines that a query shows."""
        universe = Universe(
            Workspace(str(self.root)),
            self._reader,
            say=self.said.append,
            fault=self.faults.append if keep_going else None,
            implicit=implicit,
        )
        try:
            text = query_text(words)
            query = parse(text)
            answers = Answers(self.affected, self.stale, self.cached)
            evaluator = Evaluator(universe, answers, text=text, package=self.package)
            labels = ordered(evaluator.evaluate(query), order, query=query, universe=universe)
            return FORMS[output].lines(Found(labels, universe))
        finally:
            universe.keep()

    def settle(self) -> None:
        """Wait until the clock of the file system has moved on, so that a later write shows."""
        probe = self.root.parent / "probe"
        probe.touch()
        newest = max(
            os.lstat(os.path.join(folder, name)).st_ctime_ns
            for folder, folders, files in os.walk(self.root)
            for name in [*folders, *files]
        )
        while os.stat(probe).st_ctime_ns < newest + 30_000_000:
            probe.touch()

    def _reader(self) -> "_Noting":
        code = str(self.root.parent.parent / "code")  # of all tests of a session
        return _Noting(Workspace(str(self.root)), code=code, say=self.said.append, into=self.read)


class _Noting(Reader):
    """A Reader that notes which packages it reads."""

    def __init__(
        self, workspace: Workspace, *, code: str, say: Callable[[str], None], into: list[str]
    ) -> None:
        super().__init__(workspace, code=code, say=say)
        self._into = into

    def record(self, path: str, *, wanted: str = "", by: str = "") -> Record:
        self._into.append(path)
        return super().record(path, wanted=wanted, by=by)
