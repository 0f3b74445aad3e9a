"""Near: links to an agent on this machine, which is a process of ours."""

import sys
from collections.abc import Mapping

from mlbuild.errors import HostError
from mlbuild.remote.link import baggage, boot
from mlbuild.remote.link.link import Link
from mlbuild.remote.link.process import greeted, started
from mlbuild.remote.outage import Cut


class Near:
    """Opens links to agents here; `root` is where they keep their store, "" by their settings."""

    def __init__(self, *, where: str, python: str, root: str, environ: Mapping[str, str]) -> None:
        self._where = where
        self._python = python or sys.executable
        self._root = root
        self._environ = environ

    def connect(self) -> Link:
        """Return a new link; raise HostError where the agent cannot be started."""
        try:
            link = started(
                [self._python, "-I", "-c", boot.TEXT, baggage.digest(), self._root],
                where=self._where,
                environ=self._environ,
                why=self._why,
            )
        except OSError as error:
            raise HostError(f"`{self._python}` cannot be run: {error.strerror}") from error
        return greeted(link)

    def _why(self, code: int, said: str) -> HostError:
        lines = said.strip().splitlines()
        last = lines[-1] if lines else f"exit code {code}"
        return Cut(f"the agent for `{self._where}` ended: {last}")
