"""`mlbuild watch` in a process of its own, and what it has said so far."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.harness import Build

DEADLINE = 25.0  # seconds: less than the half minute after which everything is looked at anyway


class Watching:
    """A running watch with `--json`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._changed = threading.Condition()
        self._out: list[str] = []
        self._err: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((process.stdout, self._out), (process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    lines.append(line)
                    self._changed.notify_all()

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What each build has reported."""
        with self._changed:
            return [json.loads(line) for line in self._out]

    @property
    def said(self) -> str:
        """What went to stderr."""
        with self._changed:
            return "".join(self._err)

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until `reached` says so."""
        end = time.monotonic() + DEADLINE
        while not reached():
            gone = self.process.poll() is not None
            if (gone and not reached()) or time.monotonic() > end:
                raise AssertionError(f"never {what}:\n{self.said}\n{self.reports}")
            with self._changed:
                self._changed.wait(0.02)

    def built(self, count: int) -> dict[str, Any]:
        """Wait for the report of build number `count`, and for the wait that follows it."""
        self.until(lambda: len(self.reports) >= count and self._waits >= count, f"built {count}")
        assert len(self.reports) == count, self.said
        return self.reports[-1]

    @property
    def _waits(self) -> int:
        return self.said.count("waiting for changes")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep it from doing anything, as a busy machine does: what happens waits for it."""
        self.process.send_signal(signal.SIGSTOP)
        status = Path(f"/proc/{self.process.pid}/stat")
        self.until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "stopped")
        yield
        self.process.send_signal(signal.SIGCONT)

    def end(self, number: int = signal.SIGINT) -> int:
        """End it politely; return its exit code."""
        self.process.send_signal(number)
        return self.join()

    def join(self) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code


@contextmanager
def watching(build: Build, *words: str) -> Iterator[Watching]:
    """Yield a watch of `words`, or of everything, which ends with the block."""
    process = build.start("watch", "--json", *build.flags, *(words or ("//...",)))
    watch = Watching(process)
    try:
        yield watch
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        watch.join()
