"""Fixtures for all tests: a workspace of its own, with a store of its own, and the real command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import docker, reapi_servers, servers
from tests.harness import Build


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
def buildgrid() -> Iterator[reapi_servers.CacheServer]:
    """Return a BuildGrid server of our own; skip where there can be none."""
    yield from reapi_servers.buildgrid()
