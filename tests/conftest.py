"""Fixtures for all tests: a workspace of its own, with a store of its own, and the real command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import docker, reapi_servers, reapi_workers, servers, slurm, ssh
from tests.harness import Build
from tests.unit.test_gpus import ROWS, fake_driver


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return an empty workspace with an empty local cache."""
    return Build(tmp_path / "workspace", cache=tmp_path / "cache")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.Engine]:
    """Return a Docker Engine of our own; skip where there can be none."""
    yield from docker.engine()


@pytest.fixture(scope="session")
def weed() -> Iterator[servers.ObjectServer]:
    """Return a SeaweedFS server of our own; skip where there can be none."""
    yield from servers.weed()


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.ObjectServer]:
    """Return a moto server of our own; skip where there can be none."""
    yield from servers.moto()


@pytest.fixture(scope="session")
def casd() -> Iterator[reapi_servers.CacheServer]:
    """Return a buildbox-casd of our own; skip where there can be none."""
    yield from reapi_servers.casd()


@pytest.fixture(scope="session")
def reapi_worker() -> Iterator[reapi_servers.CacheServer]:
    """Return a buildbox-casd that executes actions; skip where there can be none."""
    with reapi_workers.casd_worker(arguments=reapi_workers.host_runner()) as server:
        yield server


@pytest.fixture(scope="session")
def buildgrid_worker() -> Iterator[reapi_servers.CacheServer]:
    """Return a BuildGrid with a worker; skip where there can be none."""
    with reapi_workers.buildgrid_worker() as server:
        yield server


@pytest.fixture(scope="session")
def buildgrid() -> Iterator[reapi_servers.CacheServer]:
    """Return a BuildGrid server of our own; skip where there can be none."""
    yield from reapi_servers.buildgrid()


@pytest.fixture(scope="session")
def far_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh.Host]:
    """Return a host behind an OpenSSH server of our own; its caches lie beside its folder.

    It says that it has an A100 and a T4.
    """
    top = tmp_path_factory.mktemp("ssh")
    (top / "driver").mkdir()
    search = fake_driver(top / "driver", ROWS)
    yield from ssh.server(top / "host", variables=(f"XDG_CACHE_HOME={top}/far", f"PATH={search}"))


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    """Return a Slurm of our own, whose node is this host; skip where there can be none."""
    yield from slurm.cluster(tmp_path_factory.mktemp("slurm") / "c")
