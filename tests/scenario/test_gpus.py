"""Targets that ask for GPUs, on hosts that have some and on hosts that have none."""

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.harness import Build
from tests.unit.test_gpus import A100, ROWS, fake_driver

SHOW = """
import json, os, time
out = os.environ["MLBUILD_OUT"]
names = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
with open(out + "/seen.json", "w") as file:
    json.dump([os.environ.get(name) for name in names], file)
time.sleep(float(os.environ.get("PAUSE", "0")))
"""


def on_gpu(build: Build, gpus: str, *, name: str = "it", attributes: str = "") -> Build:
    build.file("show.py", SHOW)
    with (build.root / "BUILD.ml").open("a") as file:
        file.write(
            f'process(name = "{name}", script = "show.py", outs = ["seen.json"], '
            f'resources = {{"gpus": {gpus}}}, {attributes})\n'
        )
    return build


@pytest.fixture
def driver(build: Build, tmp_path: Path) -> Build:
    """Return a workspace on a host that says to have an A100 and a T4."""
    folder = tmp_path / "driver"
    folder.mkdir()
    build.env["PATH"] = fake_driver(folder, ROWS)
    return build


def bare(build: Build) -> Build:
    """Let the host have no driver."""
    build.env["PATH"] = "/usr/bin:/bin"
    return build


@pytest.mark.parametrize(
    ("gpus", "uuids"), [("1", "GPU-aaa"), ('"T4"', "GPU-bbb"), ("2", "GPU-aaa,GPU-bbb")]
)
def test_a_script_sees_the_gpus_that_it_was_lent(driver: Build, gpus: str, uuids: str) -> None:
    on_gpu(driver, gpus)("//:it")

    assert json.loads(driver.output("it/seen.json")) == [uuids, uuids]


def test_the_result_says_what_it_ran_on(driver: Build, tmp_path: Path) -> None:
    on_gpu(driver, '"A100"')("//:it", "--events", str(tmp_path / "events"))

    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    (finished,) = (one for one in events if one["type"] == "ActionFinished")
    assert finished["result"]["gpus"] == [f"{A100}, driver 550.54.14, CUDA 12.4"]


def test_without_a_gpu_nothing_runs_and_it_is_said_why(build: Build) -> None:
    bare(on_gpu(build.genrule("dep", "cat"), "1", attributes='data = {"dep": ":dep"}'))

    done = build.run("//:it")

    assert done.code == 36
    assert "`//:it` needs 1 GPU, and this host has none" in done.stderr
    assert "`nvidia-smi` is not installed" in done.stderr
    assert build("//:dep").ran == ["//:dep"]  # it had not


def test_too_few_of_a_model_are_told_with_what_there_is(driver: Build) -> None:
    done = on_gpu(driver, '"A100:2"').run("//:it")

    assert done.code == 36
    assert f"needs 2 A100 GPUs, and this host has 1 {A100}, 1 Tesla T4" in done.stderr


def test_a_known_result_serves_where_there_is_no_gpu(driver: Build) -> None:
    on_gpu(driver, "1")("//:it")
    shutil.rmtree(driver.root / ".mlbuild")

    assert bare(driver)("//:it").ran == []


def test_gpus_are_not_in_the_key_unless_every_bit_is_promised(driver: Build) -> None:
    on_gpu(driver, "1")("//:it")
    driver.edit("BUILD.ml", '"gpus": 1', '"gpus": "T4"')
    assert driver("//:it").ran == []

    driver.edit("BUILD.ml", '"gpus": "T4"}', '"gpus": "T4"}, determinism = "bitwise"')
    driver("//:it")
    driver.edit("BUILD.ml", '"T4"', '"A100"')
    assert driver("//:it").ran == ["//:it"]
    assert "Tesla T4" in driver.run("why", "//:it").stdout


def test_two_targets_share_one_gpu_and_others_go_on_meanwhile(driver: Build) -> None:
    for name, pause in (("one", "0.4"), ("two", "0.5")):
        on_gpu(driver, '"A100"', name=name, attributes=f'env = {{"PAUSE": "{pause}"}}')
    driver.genrule("cpu", "cat")
    driver.flags = ["-j", "4"]

    done = driver("//...")

    assert done.ran == ["//:cpu", "//:one", "//:two"]
    for name in ("one", "two"):
        assert json.loads(driver.output(f"{name}/seen.json"))[0] == "GPU-aaa"


def test_another_build_that_holds_the_gpu_is_named(driver: Build, tmp_path: Path) -> None:
    on_gpu(driver, '"A100"', attributes='env = {"PAUSE": "3"}')
    other = driver.copy(tmp_path / "other")
    other.edit("BUILD.ml", '"3"', '"0"')
    first = driver.start("//:it")
    while not list((driver.cache / "locks").glob("gpu-*")):
        assert first.poll() is None
        time.sleep(0.02)

    second = other.run("//:it")

    first.communicate()
    assert second.code == first.returncode == 0, second.stderr
    assert "//:it  waits for 1 A100 GPU: lent to //:it (process " in second.stderr


@pytest.mark.parametrize("gpus", ["-1", "1.5", '"x:y"', "[1]"])
def test_a_wish_that_is_none_is_refused(build: Build, gpus: str) -> None:
    done = on_gpu(build, gpus).run("//:it")

    assert done.code == 2
    assert "gpus" in done.stderr


@pytest.mark.gpu
def test_a_sandbox_shows_the_one_gpu_that_was_lent(build: Build) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("`nvidia-smi` is not installed, so there is no driver")
    with (build.root / "BUILD.ml").open("a") as file:
        file.write(
            'genrule(name = "it", outs = ["out.txt"], cmd = "nvidia-smi -L > $@", '
            'resources = {"gpus": 1})\n'
        )

    build("//:it")

    assert build.output("it/out.txt").count("GPU-") == 1
