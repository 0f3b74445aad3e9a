"""A workspace in a folder of its own, built by the real command line in a real process."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Finished:
    """What one command gave."""

    code: int
    stdout: str
    stderr: str
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def ran(self) -> list[str]:
        return sorted(self.report["ran"])

    @property
    def cached(self) -> list[str]:
        return sorted(self.report["cached"])

    @property
    def failed(self) -> list[str]:
        return sorted(self.report["failed"])

    @property
    def skipped(self) -> list[str]:
        return sorted(self.report["skipped"])


class Build:
    """A workspace; calling it builds patterns."""

    def __init__(self, root: Path, *, cache: Path) -> None:
        self.root = root
        self.cache = cache
        self.env: dict[str, str] = {}
        self.flags: list[str] = []
        self.prefix: list[str] = []  # words before the command, such as `nice`
        root.mkdir(parents=True, exist_ok=True)
        if not (root / "mlbuild.toml").exists():
            self.file("mlbuild.toml", '[workspace]\nname = "test"\n')

    def file(self, path: str, text: str | bytes = "") -> "Build":
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text, f"{old!r} does not stand in {path}"
        self.file(path, text.replace(old, new, 1))

    def genrule(self, name: str, cmd: str, *srcs: str, package: str = "") -> "Build":
        """Append a genrule that makes `<name>.txt`: `cmd` reads its sources, prints its output."""
        path = self.root / package / "BUILD.ml"
        path.parent.mkdir(parents=True, exist_ok=True)
        command = json.dumps(f"cat $(SRCS) /dev/null | {cmd} > $@")
        with path.open("a") as file:
            file.write(
                f"genrule(name = {json.dumps(name)}, srcs = {json.dumps(list(srcs))}, "
                f'outs = ["{name}.txt"], cmd = {command})\n'
            )
        return self

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("MLBUILD_")
        }
        return {**kept, "MLBUILD_CACHE_DIR": str(self.cache), "NO_COLOR": "1", **self.env}

    def command(self, *words: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "mlbuild", *words]

    def run(self, *words: str, cwd: Path | None = None, timeout: float = 300) -> Finished:
        """Run `mlbuild WORDS...` to its end."""
        done = subprocess.run(
            self.command(*words),
            cwd=cwd or self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start `mlbuild WORDS...` in a session of its own."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str, code: int = 0) -> Finished:
        """Build patterns with `--json`; fail the test when the exit code is not `code`."""
        done = self.run("build", "--json", *self.flags, *words)
        assert done.code == code, f"exit code {done.code}:\n{done.stderr}\n{done.stdout}"
        report = json.loads(done.stdout) if done.stdout else {}
        return Finished(done.code, done.stdout, done.stderr, report)

    def output(self, path: str) -> str:
        """Return the text of a file below mlbuild-out."""
        return (self.root / "mlbuild-out" / path).read_text()

    def copy(self, to: Path, *, cache: Path | None = None) -> "Build":
        """Return a copy of the sources at another path, by default with the same cache."""
        shutil.copytree(
            self.root, to, symlinks=True, ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild")
        )
        other = Build(to, cache=cache or self.cache)
        other.env, other.flags = dict(self.env), list(self.flags)
        return other
