"""Hosts behind ssh that are not as they should be: what logs in there is a script of the test."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import ssh
from tests.harness import Build

PATIENCE = 60.0  # seconds for what must happen
PLAIN = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'


class OddHost:
    """A host whose sessions all begin with the script that a test gives it."""

    def __init__(self, host: ssh.Host, folder: Path) -> None:
        self.host = host
        self.folder = folder  # for what the script needs
        self.caches = folder / "far"
        self._script = folder / "login"
        self.says(PLAIN)

    @property
    def store(self) -> Path:
        """The folder of its store."""
        return self.caches / "mlbuild" / "v1"

    def says(self, script: str) -> None:
        """Have later sessions run these lines of a POSIX shell."""
        self._script.write_text(f"export XDG_CACHE_HOME={self.caches}\n{script}")


def odd_host(folder: Path) -> Iterator[OddHost]:
    """Yield a host; skip where there can be none."""
    folder.mkdir(parents=True)
    (folder / "login").write_text(PLAIN)
    for host in ssh.server(
        folder / "sshd", settings=(f"ForceCommand /bin/sh {folder}/login", "LogLevel ERROR")
    ):
        yield OddHost(host, folder)


@contextmanager
def logged_in_by(host: OddHost, script: str) -> Iterator[None]:
    """Have sessions begin with these lines for a while."""
    host.says(script)
    try:
        yield
    finally:
        host.says(PLAIN)


def led(build: Build, host: ssh.Host, *lines: str, address: str = "") -> Build:
    """Have a workspace use a host, with more lines in its table."""
    told = address or f"ssh://{host.address}"
    table = ["[executors.gpubox]", 'kind = "ssh"', f'host = "{told}"', *lines]
    build.file("mlbuild.toml", '[workspace]\nname = "test"\n' + "\n".join(table) + "\n")
    build.env["PATH"] = f"{host.bin}:{os.environ['PATH']}"
    build.flags.extend(["--executor", "gpubox"])
    return build


def client(build: Build, host: ssh.Host, *options: str) -> Build:
    """Have the build call `ssh` with these options before its own: the first one said counts."""
    place = build.root / "bin" / "ssh"
    called = (host.bin / "ssh").read_text().replace('"$@"', f'{" ".join(options)} "$@"')
    build.file("bin/ssh", called)
    place.chmod(0o755)
    build.env["PATH"] = f"{place.parent}:{os.environ['PATH']}"
    return build


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


def log_of(build: Build, name: str = "net") -> str:
    """Return what the newest log of a target holds by now."""
    logs = sorted(build.cache.glob(f"runs/*/logs/*{name}*.log"), key=lambda p: p.stat().st_ctime)
    return logs[-1].read_text() if logs else ""
