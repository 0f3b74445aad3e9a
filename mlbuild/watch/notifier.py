"""Notifier: runs a command of the user's after each build."""

import subprocess
from collections.abc import Callable, Mapping, Sequence

MOST = 64 << 10  # letters of one variable: the kernel takes no more than twice that
PATIENCE = 10.0  # seconds that the last command gets when the watch ends


class Notifier:
    """Runs the shell command `command` in `folder`, and never waits for it while there is work.

    `warn` hears of one that fails.
    """

    def __init__(
        self,
        command: str,
        *,
        environ: Mapping[str, str],
        folder: str,
        warn: Callable[[str], None],
    ) -> None:
        self._command = command
        self._environ = environ
        self._folder = folder
        self._warn = warn
        self._running: list[subprocess.Popen[bytes]] = []

    def tell(self, status: str, *, labels: Sequence[str], failed: Sequence[str]) -> None:
        """Start the command. `status` is "passed" or "failed"."""
        self._collect()
        told = {
            "MLBUILD_WATCH_STATUS": status,
            "MLBUILD_WATCH_LABELS": _lines(labels),
            "MLBUILD_WATCH_FAILED": _lines(failed),
        }
        try:
            started = subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                cwd=self._folder,
                env={**self._environ, **told},
                stdin=subprocess.DEVNULL,
                stdout=2,  # what we write on stdout is for programs
            )
        except OSError as error:
            self._warn(f"`{self._command}` could not be started: {error.strerror}")
        else:
            self._running.append(started)

    def close(self) -> None:
        """Wait for what runs, for a while."""
        self._collect(timeout=PATIENCE)

    def _collect(self, *, timeout: float = 0.0) -> None:
        """Take note of the commands that have ended, and of those that end within `timeout`."""
        left: list[subprocess.Popen[bytes]] = []
        for one in self._running:
            try:
                code = one.wait(timeout)
            except subprocess.TimeoutExpired:
                left.append(one)
                continue
            if code:
                self._warn(f"`{self._command}` ended with exit code {code}")
        self._running = left


def _lines(labels: Sequence[str]) -> str:
    """Return one label a line, as many as fit."""
    text = "\n".join(labels)
    return text if len(text) <= MOST else text[:MOST].rpartition("\n")[0]
