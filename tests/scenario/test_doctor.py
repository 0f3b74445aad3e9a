"""`mlbuild doctor` says what this host can do, with the cure for what it cannot."""

import json
from pathlib import Path

import pytest

from mlbuild.exec.bubblewrap import Bubblewrap
from tests import docker
from tests.harness import Build

NO_SANDBOX = Bubblewrap("").available()

pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)


def report(build: Build, *words: str) -> dict[str, dict[str, str]]:
    done = build.run("doctor", "--json", *words)
    assert done.code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["works"] is True
    return {one["name"]: one for one in said["findings"]}


def test_every_line_says_how_it_is_and_the_cure(build: Build) -> None:
    build.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"

    done = build.run("doctor")

    assert done.code == 0
    lines = done.stdout.splitlines()
    assert [line[0] for line in lines if line[0] not in "✓!"] == []
    names = [line[2:].split("  ")[0] for line in lines]
    assert names == sorted(names)
    (engine,) = (line for line in lines if line.startswith("! docker"))
    assert "no Docker Engine answers at unix:///nowhere/docker.sock" in engine
    assert "→ start an engine, or set DOCKER_HOST" in engine
    assert "\x1b" not in done.stdout


def test_an_engine_is_found(build: Build, engine: docker.Engine) -> None:
    build.env["DOCKER_HOST"] = engine.address

    found = report(build)["docker"]

    assert found["status"] == "ok"
    assert engine.address in found["text"]


def test_what_is_missing_is_named_with_its_cure(build: Build, tmp_path: Path) -> None:
    build.env["PATH"] = str(tmp_path)

    found = report(build)

    assert found["git"]["cure"] == "apt-get install git"
    assert found["gpu"]["status"] == "note"


def test_it_needs_no_workspace(build: Build, tmp_path: Path) -> None:
    done = build.run("doctor", "--json", cwd=tmp_path)

    assert json.loads(done.stdout)["works"] is True


def test_a_store_that_cannot_be_is_bad(build: Build) -> None:
    build.cache = Path("/proc/nowhere")

    done = build.run("doctor")

    assert done.code == 36
    assert "✗ disk" in done.stdout
    assert "MLBUILD_CACHE_DIR" in done.stdout
