"""Near: links to an agent on this machine, which is a process of ours."""

import os
import subprocess
import sys
from collections.abc import Mapping

from mlbuild.errors import HostError
from mlbuild.remote.link import baggage, boot
from mlbuild.remote.link.link import Link
from mlbuild.remote.outage import Cut

_FAREWELL = 3.0  # seconds that it has to end once nobody talks with it


class Near:
    """Opens links to agents here; `root` is where they keep their store, "" by their settings."""

    def __init__(self, *, where: str, python: str, root: str, environ: Mapping[str, str]) -> None:
        self._where = where
        self._python = python or sys.executable
        self._root = root
        self._environ = environ

    def connect(self) -> Link:
        """Return a new link; raise HostError where the agent cannot be started."""
        said = os.memfd_create("agent", os.MFD_CLOEXEC)
        words = [self._python, "-I", "-c", boot.TEXT, baggage.digest(), self._root]
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**self._environ},
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
        except OSError as error:
            os.close(said)
            raise HostError(f"`{self._python}` cannot be run: {error.strerror}") from error
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()

        def why() -> HostError:
            code = process.wait()
            lines = os.pread(said, 1 << 16, 0).decode("utf-8", "replace").strip().splitlines()
            last = lines[-1] if lines else f"exit code {code}"
            return Cut(f"the agent for `{self._where}` ended: {last}")

        def end() -> None:
            try:
                process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(said)

        link = Link(orders, answers, where=self._where, why=why, end=end)
        try:
            link.greet()
        except BaseException:
            link.close()
            raise
        return link
