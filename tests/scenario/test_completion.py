"""Completion, driven through real shells: what stands on the screen after a Tab."""

import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import Build

PATIENCE = 60.0  # seconds; a busy machine takes its time


@dataclass
class Shell:
    """A shell at a terminal, with `mlbuild` and its completion."""

    name: str
    pid: int
    terminal: int
    text: str = ""

    def type(self, keys: str, *, until: str) -> str:
        """Type keys, and return what the screen says since, once it holds `until`."""
        start = len(self.text)
        os.write(self.terminal, keys.encode())
        return self.wait(until, start)

    def wait(self, until: str, start: int = 0) -> str:
        deadline = time.monotonic() + PATIENCE
        while until not in plain(self.text[start:]):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(left, 0))
            assert ready, f"{until!r} did not appear in:\n{plain(self.text)}"
            self.text += os.read(self.terminal, 65536).decode(errors="replace")
        return plain(self.text[start:])

    def line(self, typed: str, *, until: str) -> str:
        """Type a line and a Tab, wait for `until`, and clear the line."""
        said = self.type(f"{typed}\t", until=until)
        self.type("\x15\n", until="READY>")
        return said


def plain(text: str) -> str:
    """Return text without what moves the cursor and colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>(][B0]?|\x1b\][^\x07]*\x07|[\x07\r]", "", text)


def opened(name: str, build: Build, home: Path) -> Iterator[Shell]:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    words = {
        "bash": [program, "--norc", "--noprofile", "-i"],
        "zsh": [program, "-f", "-i"],
        "fish": [program, "--no-config", "-i"],
    }[name]
    bin_ = home / "bin"
    bin_.mkdir(parents=True)
    script = bin_ / "mlbuild"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlbuild "$@"\n')
    script.chmod(0o755)
    environ = {
        **build.environment(),
        "HOME": str(home),
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path])),
        "TERM": "dumb" if name != "fish" else "xterm",
        "PS1": "READY> ",
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "COLUMNS": "200",
    }
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(build.root)
        os.execve(program, words, environ)  # noqa: S606 - a shell it is
    shell = Shell(name, pid, terminal)
    try:
        ready = {
            "bash": 'eval "$(mlbuild completion bash)"',
            "zsh": 'PROMPT="READY> "; autoload -Uz compinit; compinit -D; '
            'eval "$(mlbuild completion zsh)"',
            "fish": 'function fish_prompt; echo "READY> "; end; mlbuild completion fish | source',
        }[name]
        shell.type(f'{ready}; echo IS""SET\n', until="ISSET")
        yield shell
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a workspace whose labels are kept, because somebody asked for them."""
    root = tmp_path_factory.mktemp("completion")
    build = Build(root / "workspace", cache=root / "cache")
    for package, names in (
        ("models", ["lenet", "lenet_eval"]),
        ("models/old", ["mlp"]),
        ("data", ["mnist"]),
    ):
        text = "".join(f'filegroup(name = "{name}")\n' for name in names)
        build.file(f"{package}/BUILD.ml", text)
    build.run("query", "//...")
    return build


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def shell(
    request: pytest.FixtureRequest, workspace: Build, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    yield from opened(request.param, workspace, tmp_path_factory.mktemp("home") / "h")


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("mlbuild que", "mlbuild query "),
        ("mlbuild query --outp", "mlbuild query --output "),
        ("mlbuild query --output maxr", "mlbuild query --output maxrank "),
        ("mlbuild build //da", "mlbuild build //data:"),
        ("mlbuild //models:lenet_", "mlbuild //models:lenet_eval "),
        ("mlbuild why //models/ol", "mlbuild why //models/old:"),
        ("mlbuild query allr", "mlbuild query allrdeps "),
        ("mlbuild query 'deps(//models:lenet_", "mlbuild query 'deps(//models:lenet_eval"),
        ("mlbuild completion fi", "mlbuild completion fish "),
    ],
)
def test_what_is_typed_becomes_more(shell: Shell, typed: str, becomes: str) -> None:
    said = shell.line(typed, until=becomes.rstrip())

    assert "rror" not in said
    assert "warning" not in said
