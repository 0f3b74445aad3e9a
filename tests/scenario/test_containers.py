"""Images as environments: what runs in them gives the same in the sandbox and in Docker."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from mlbuild.exec.bubblewrap import Bubblewrap
from tests import docker, ssh
from tests.docker import Registry
from tests.harness import REPOSITORY, Build

NO_SANDBOX = Bubblewrap("").available()
NOWHERE = "unix:///nowhere/docker.sock"

pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)

RULES = """
container_environment(name = "image", archive = "image.tar")

genrule(
    name = "tools",
    container = ":image",
    outs = ["tools.txt"],
    cmd = "(echo $$FROM_IMAGE $$PATH; ls /; ls -l /usr; id -un; stat -c '%a %Y' /usr/bin) > $@",
)

process(
    name = "sums",
    script = "sums.py",
    environment = ":image",
    args = ["--out", "$(output sums.json)"],
    outs = ["sums.json"],
    seed = 1,
)
"""

SCRIPT = """
import argparse, getpass, json, os, random, sys
parser = argparse.ArgumentParser()
parser.add_argument("--out")
out = parser.parse_args().out
found = {
    "user": getpass.getuser(),
    "python": sys.version,
    "names": sorted({"a", "b", "c"}),
    "random": random.Random(1).random(),
    "variables": sorted(set(os.environ) - {"LC_CTYPE"}),
    "path": sys.path[1:],
    "root": sorted(os.listdir("/")),
    "etc": sorted(os.listdir("/etc")),
}
with open(out, "w") as file:
    json.dump(found, file, indent=1)
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of an image with a shell and a Python."""
    place = tmp_path_factory.mktemp("image") / "image.tar"
    docker.archive(docker.rootfs(), place, env=("FROM_IMAGE=1",))
    return place


@pytest.fixture
def ssh_host(engine: docker.Engine, tmp_path: Path) -> Iterator[ssh.Host]:
    """Return a host where `docker` talks to the engine."""
    yield from ssh.server(tmp_path / "ssh", variables=(f"DOCKER_HOST={engine.address}",))


@pytest.fixture
def workspace(build: Build, image: Path) -> Build:
    build.file("BUILD.ml", RULES).file("sums.py", SCRIPT)
    (build.root / "image.tar").hardlink_to(image)
    build.env["DOCKER_HOST"] = NOWHERE
    return build


def ran_by(build: Build, label: str) -> str:
    """Return which executor made the kept result of a target."""
    found = [json.loads(line) for line in (build.root / "events.jsonl").read_text().splitlines()]
    results = [one for one in found if one["type"] == "ActionFinished" and one["owner"] == label]
    return str(results[-1]["result"]["executor"])


def test_the_same_image_gives_the_same_outputs_in_the_sandbox_and_in_docker(
    workspace: Build, engine: docker.Engine, tmp_path: Path
) -> None:
    other = workspace.copy(tmp_path / "other", cache=tmp_path / "other-cache")
    other.env["DOCKER_HOST"] = engine.address
    words = ("//...", "--events", "events.jsonl")

    workspace(*words)
    other(*words)

    assert ran_by(workspace, "//:sums") == ran_by(workspace, "//:tools") == "sandbox"
    assert ran_by(other, "//:sums") == ran_by(other, "//:tools") == "docker"
    assert ran_by(other, "//:image") == "sandbox"
    for path in ("tools/tools.txt", "sums/sums.json"):
        assert workspace.output(path) == other.output(path)
    assert workspace.output("tools/tools.txt").startswith("1 /usr/local/bin:/usr/bin:/bin\n")
    assert '"user": "mlbuild"' in other.output("sums/sums.json")
    assert engine.containers() == []


def test_who_runs_an_action_is_no_part_of_its_key(workspace: Build, engine: docker.Engine) -> None:
    workspace("//...")

    workspace.env["DOCKER_HOST"] = engine.address
    workspace.flags = ["--executor", "docker"]
    shutil.rmtree(workspace.root / ".mlbuild")

    assert workspace("//...").ran == []


def test_an_engine_of_this_host_may_be_reached_over_ssh(
    workspace: Build, engine: docker.Engine, ssh_host: ssh.Host
) -> None:
    workspace.env["PATH"] = f"{ssh_host.bin}:{os.environ['PATH']}"
    workspace.env["DOCKER_HOST"] = f"ssh://{ssh_host.address}"
    workspace.flags = ["--executor", "docker"]

    workspace("//:sums", "--events", "events.jsonl")

    assert ran_by(workspace, "//:sums") == "docker"
    assert engine.containers() == []


def test_docker_that_was_asked_for_and_does_not_answer_is_an_error(workspace: Build) -> None:
    workspace.flags = ["--executor", "docker"]

    done = workspace("//...", code=36)

    assert "no Docker Engine answers at unix:///nowhere/docker.sock" in done.stderr
    assert "mlbuild doctor" in done.stderr


def test_docker_needs_something_that_has_an_image(build: Build, engine: docker.Engine) -> None:
    build.genrule("one", "cat")
    build.env["DOCKER_HOST"] = engine.address
    build.flags = ["--executor", "docker"]

    done = build("//:one", code=2)

    assert "nothing that is built here runs in an image" in done.stderr
    assert "container_environment" in done.stderr


def test_a_plain_process_cannot_have_an_image(workspace: Build) -> None:
    workspace.flags = ["--executor", "process"]

    done = workspace("//:tools", code=36)

    assert "a plain process cannot" in done.stderr
    assert "--executor sandbox" in done.stderr


def test_a_program_that_the_image_lacks_is_named(workspace: Build, engine: docker.Engine) -> None:
    workspace.edit("BUILD.ml", 'archive = "image.tar"', 'archive = "image.tar", python = "python9"')

    in_sandbox = workspace("//:sums", code=36)
    workspace.env["DOCKER_HOST"] = engine.address
    in_docker = workspace("//:sums", code=36)

    for done in (in_sandbox, in_docker):
        assert "there is no program `python9` in the image" in done.stderr


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"root:x:0:0::/root")
    content[at] ^= 1
    path.unlink()
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "truncated"),
        (spoil, "is not what the image says"),
        (
            lambda path: (path.unlink(), path.write_text("text"))[0],
            "no archive of a container image",
        ),
    ],
)
def test_a_damaged_archive_is_refused_and_nothing_of_it_is_used(
    workspace: Build, damage: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    own = workspace.root / "image.tar"
    shutil.copy(own, tmp_path / "copy")
    own.unlink()
    shutil.copy(tmp_path / "copy", own)
    damage(own)

    done = workspace("//:tools", code=1)

    assert said in done.stderr
    assert done.failed == ["//:image"]
    assert done.skipped == ["//:tools"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Return an empty registry on this host."""
    yield from docker.registry(tmp_path)


PULLED = """
container_environment(name = "image", image = "{image}")
genrule(name = "tools", container = ":image", outs = ["o"], cmd = "echo $$FROM_IMAGE > $@")
"""


def test_an_image_is_fetched_from_a_registry_by_its_digest(
    build: Build, registry: Registry, image: Path
) -> None:
    name, digest = registry.push(image)
    build.env["DOCKER_HOST"] = NOWHERE
    build.file("BUILD.ml", PULLED.format(image=f"{name}@{digest}"))

    build("//:tools")

    assert build.output("tools/o") == "1\n"
    registry.stop()
    build.file("BUILD.ml", PULLED.format(image=f"127.0.0.1:9/elsewhere@{digest}"))
    assert build("//:tools").ran == []


def test_an_image_by_tag_is_what_the_lock_says(
    build: Build, registry: Registry, image: Path
) -> None:
    name, digest = registry.push(image)
    build.env["DOCKER_HOST"] = NOWHERE
    build.file("BUILD.ml", PULLED.format(image=f"{name}:1"))

    refused = build("//:tools", code=2)
    build.edit("BUILD.ml", ':1")', ':1", lock = "mlbuild.lock")')
    build.file("mlbuild.lock", "[images]\n")
    unknown = build("//:tools", code=1)
    build.file("mlbuild.lock", f'[images]\n"{name}:1" = "{digest}"\n')
    build("//:tools")

    assert "may be another image tomorrow" in refused.stderr
    assert "mlbuild lock" in refused.stderr
    assert f"mlbuild.lock: it has no digest for `{name}:1`: run `mlbuild lock`" in unknown.stderr
    assert build.output("tools/o") == "1\n"


def test_a_registry_that_lacks_the_image_or_lies_is_named(
    build: Build, registry: Registry, image: Path
) -> None:
    name, digest = registry.push(image)
    build.env["DOCKER_HOST"] = NOWHERE
    build.file("BUILD.ml", PULLED.format(image=f"{name}@sha256:{'0' * 64}"))
    absent = build("//:tools", code=1)

    registry.spoil()
    build.file("BUILD.ml", PULLED.format(image=f"{name}@{digest}"))
    spoilt = build("//:tools", code=1)

    assert "the registry has no manifest" in absent.stderr
    assert "sends other bytes" in spoilt.stderr or "breaks off" in spoilt.stderr


def test_a_tag_is_resolved_to_the_digest_that_the_registry_has(
    registry: Registry, image: Path
) -> None:
    name, digest = registry.push(image)
    program = REPOSITORY / "rules/tools/image/image_pull.py"

    known, unknown = (
        subprocess.run(
            [sys.executable, program, "--resolve", f"{name}:{tag}"],
            capture_output=True,
            text=True,
            check=False,
        )
        for tag in (1, 2)
    )

    assert known.stdout == f"{digest}\n"
    assert unknown.returncode == 1
    assert "the registry has no manifest `2`" in unknown.stderr


DOCKERFILE = """
# a comment
FROM base
COPY hello.txt /hello.txt
RUN wc -c < /hello.txt > /size.txt \\
    && cat /hello.txt
ENV GREETING="good day"
"""

BUILT = """
container_environment(name = "image", archive = "image.tar")
container_environment(
    name = "tools",
    dockerfile = "Dockerfile",
    base = ":image",
    srcs = ["hello.txt"],
)
genrule(
    name = "out",
    container = ":tools",
    outs = ["o"],
    cmd = "(cat /hello.txt /size.txt; echo $$GREETING $$FROM_IMAGE) > $@",
)
"""


def test_a_dockerfile_is_built_from_declared_files_alone(
    workspace: Build, engine: docker.Engine
) -> None:
    workspace.env["DOCKER_HOST"] = engine.address
    workspace.file("BUILD.ml", BUILT).file("Dockerfile", DOCKERFILE).file("hello.txt", "hello\n")

    workspace("//:out")
    assert workspace.output("out/o").split() == ["hello", "6", "good", "day", "1"]

    workspace.file("Dockerfile", DOCKERFILE.replace("a comment", "another\n")).file("near.txt", "x")
    assert workspace("//:out").ran == ["//:tools"]  # the comment was looked at, nothing was built

    workspace.file("hello.txt", "good morning\n")
    assert "//:out" in workspace("//:out").ran
    assert workspace.output("out/o").split()[:3] == ["good", "morning", "13"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM python:3.11\n", "Dockerfile:1: `python:3.11` may be another image tomorrow"),
        ("FROM base\n\nADD https://example.org/x /\n", "Dockerfile:3: "),
        ("FROM base\nRUN echo said && exit 7\n", "the line `RUN echo said && exit 7` of the Dock"),
        ("FROM base\nCOPY near.txt /\n", "the line `COPY near.txt /` of the Dockerfile failed"),
        ("FROM base\nBAKE it\n", "refuses the Dockerfile"),
    ],
)
def test_a_dockerfile_that_fails_is_named_with_its_line(
    workspace: Build, engine: docker.Engine, text: str, said: str
) -> None:
    workspace.env["DOCKER_HOST"] = engine.address
    workspace.file("BUILD.ml", BUILT).file("Dockerfile", text).file("hello.txt", "hello\n")
    workspace.file("near.txt", "not declared")

    done = workspace("//:out", code=1)

    assert said in done.stderr


@pytest.fixture(scope="session")
def numpy_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of an image with Python and what the digits example is locked to."""
    folder = tmp_path_factory.mktemp("numpy")
    shutil.copytree(docker.rootfs(), folder / "rootfs", symlinks=True)
    packages = folder / "rootfs" / sysconfig.get_path("stdlib").lstrip("/") / "site-packages"
    words = [find_uv_bin(), "pip", "install", "-q", "--python", sys.executable, "--no-deps"]
    words += ["--target", str(packages), "-r", str(REPOSITORY / "examples/lenet/requirements.lock")]
    subprocess.run(words, check=True)
    docker.archive(folder / "rootfs", folder / "image.tar")
    return folder / "image.tar"


def test_lenet_gives_the_same_model_in_the_sandbox_and_in_docker(
    tmp_path: Path, engine: docker.Engine, numpy_image: Path
) -> None:
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild")
    folder = tmp_path / "lenet"
    shutil.copytree(REPOSITORY / "examples/lenet_container", folder, ignore=ignored)
    for name in ("data", "models"):
        shutil.copytree(REPOSITORY / "examples/lenet" / name, folder / name, dirs_exist_ok=True)
    (folder / "image.tar").hardlink_to(numpy_image)
    in_sandbox = Build(folder, cache=tmp_path / "cache")
    in_sandbox.edit("models/BUILD.ml", '"epochs": 5', '"epochs": 1')
    in_sandbox.env["DOCKER_HOST"] = NOWHERE
    in_docker = in_sandbox.copy(tmp_path / "other", cache=tmp_path / "other-cache")
    in_docker.env["DOCKER_HOST"] = engine.address
    in_docker.flags = ["--executor", "docker"]
    words = ("//models:lenet", "--events", "events.jsonl")

    one, other = in_sandbox(*words), in_docker(*words)

    assert ran_by(in_sandbox, "//models:lenet") == "sandbox"
    assert ran_by(in_docker, "//models:lenet") == "docker"
    model = "mlbuild-out/models/lenet/model.npz"
    assert (folder / model).read_bytes() == (in_docker.root / model).read_bytes()
    assert one.report["metrics"] == other.report["metrics"]
