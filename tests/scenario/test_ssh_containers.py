"""Images on another host: its own Docker Engine, or the sandbox on the files of the image."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.exec.bubblewrap import Bubblewrap
from tests import docker, ssh
from tests.harness import Build

NO_SANDBOX = Bubblewrap("").available()

pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)

RULES = """
container_environment(name = "image", archive = "image.tar")

genrule(
    name = "tools",
    container = ":image",
    outs = ["tools.txt"],
    cmd = "(echo $$FROM_IMAGE $$PATH; ls /; ls -l /usr; stat -c '%a %Y' /usr/bin) > $@",
)
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return an archive of an image with a shell."""
    place = tmp_path / "image.tar"
    docker.archive(docker.rootfs(), place, env=("FROM_IMAGE=1",))
    return place


@pytest.fixture
def host(engine: docker.Engine, tmp_path: Path) -> Iterator[ssh.Host]:
    """Return a host that has an engine."""
    folder = tmp_path / "host"
    variables = (f"DOCKER_HOST={engine.address}", f"XDG_CACHE_HOME={folder}/far")
    yield from ssh.server(folder, variables=variables)


def table(host: ssh.Host, inside: str) -> str:
    """Return the table of an executor whose commands run inside of this."""
    address = f'host = "ssh://{host.address}"'
    return f'[executors.box-{inside}]\nkind = "ssh"\n{address}\ninside = "{inside}"\n'


def started(engine: docker.Engine, *, since: float) -> int:
    """Return how many containers the engine has started since a moment."""
    now = str(int(time.time()) + 1)
    words = ("events", "--since", f"{since:.6f}", "--until", now, "--filter", "event=start")
    return len(engine.docker(*words).stdout.splitlines())


@pytest.mark.long
def test_a_target_with_an_image_runs_in_the_engine_of_the_host(
    build: Build, host: ssh.Host, engine: docker.Engine, image: Path
) -> None:
    (build.root / "image.tar").hardlink_to(image)
    tables = table(host, "docker") + table(host, "sandbox")
    build.file("mlbuild.toml", f'[workspace]\nname = "test"\n{tables}').file("BUILD.ml", RULES)
    build.env |= {"DOCKER_HOST": "unix:///nowhere", "PATH": f"{host.bin}:{os.environ['PATH']}"}
    begin = time.time()

    there = build("//:tools", "--executor", "box-docker")
    in_docker, containers = build.output("tools/tools.txt"), started(engine, since=begin)
    build("//:tools", "--executor", "box-sandbox", "--rerun")

    assert "//:tools" in there.stderr
    assert containers == 1
    assert started(engine, since=begin) == containers  # the other one ran in the sandbox
    assert build.output("tools/tools.txt") == in_docker
    assert in_docker.startswith("1 /usr/local/bin:/usr/bin:/bin\n")
