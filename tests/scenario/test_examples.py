"""The examples build as they are shipped, and do what the tutorial says of them."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.harness import REPOSITORY, Build
from tests.unit.test_gpus import fake_driver

TABLES = ("gpubox", "cluster", "grid")
ROWS = "GPU-1, NVIDIA H100 80GB HBM3, 81559, 550.54.14\n"
ALL = ["//:env", "//data:mnist", "//data:mnist_test", "//models:lenet", "//models:lenet_eval"]


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a copy of the digits example, trained as it is shipped."""
    folder = tmp_path_factory.mktemp("lenet")
    shutil.copytree(
        REPOSITORY / "examples/lenet",
        folder / "lenet",
        ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild"),
    )
    build = Build(folder / "lenet", cache=folder / "cache")
    first = build("//...")
    assert sorted(first.ran + first.cached) == ALL
    assert first.report["metrics"]["//models:lenet_eval"]["accuracy"] >= 0.97
    return build


def test_a_second_build_of_lenet_runs_nothing_wherever_it_is(lenet: Build, tmp_path: Path) -> None:
    assert lenet("//...").ran == []

    shutil.rmtree(lenet.root / "mlbuild-out")
    shutil.rmtree(lenet.root / ".mlbuild")
    assert lenet("//...").ran == []
    assert lenet.copy(tmp_path / "elsewhere")("//...").ran == []


def test_what_an_edit_of_lenet_runs_and_why(lenet: Build, tmp_path: Path) -> None:
    other = lenet.copy(tmp_path / "other")
    other.edit("models/BUILD.ml", '"epochs": 5', '"epochs": 1')
    other.edit("models/BUILD.ml", ">= 0.95", ">= 0.5")
    other("//...")

    other.edit("models/BUILD.ml", '"lr": 0.05', '"lr": 0.06')
    assert other("//...").ran == ["//models:lenet", "//models:lenet_eval"]
    why = other.run("why", "//models:lenet").stdout
    assert "params.lr" in why
    assert "0.05 → 0.06" in why

    script = other.root / "models/train.py"
    script.write_text(script.read_text() + "# a comment\n")
    assert other("//...").ran == ["//models:lenet"]  # the model's bytes are the same

    other.edit("models/BUILD.ml", '    "layers.py",\n', "")
    failed = other.run("//...")
    assert failed.code == 1
    assert "`models/layers.py`" in failed.stderr
    assert "`srcs` of `//models:lenet`" in failed.stderr


def example(name: str, folder: Path) -> Build:
    """Return a copy of an example, as it is shipped."""
    shutil.copytree(
        REPOSITORY / "examples" / name,
        folder / name,
        ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild"),
    )
    return Build(folder / name, cache=folder / "cache")


def test_the_hello_example_builds(tmp_path: Path) -> None:
    build = example("hello", tmp_path)

    assert len(build("//...").ran) == 3


def test_the_paper_is_made_again_only_where_its_data_changed(tmp_path: Path) -> None:
    paper = example("paper", tmp_path)
    assert paper("//...").ran == ["//:ink", "//:numbers", "//:paper", "//:shape"]
    assert "We looked at 300 handwritten digits" in paper.output("paper/report.md")
    assert paper.output("paper/report.html").count('src="data:image/svg+xml;base64,') == 2

    paper.edit("data/shape.csv", "5,20,20", "5,20,19")
    assert paper("//...").ran == ["//:paper", "//:shape"]

    paper.edit("data/ink.csv", "5,13.8", "5,90.0")
    assert paper("//...").ran == ["//:ink", "//:numbers", "//:paper"]

    paper.edit("paper.md", "A one needs", "The one needs")
    assert paper("//...").ran == ["//:paper"]


def test_the_sweep_runs_only_what_is_new_and_keeps_the_evaluation(tmp_path: Path) -> None:
    sweep = example("sweep", tmp_path)
    first = sweep("//...")
    assert len([label for label in first.ran if "@" in label]) == 4
    assert first.report["metrics"]["//:best_eval"]["accuracy"] >= 0.75

    sweep.edit("BUILD.ml", '"lr": [0.5, 2.0]', '"lr": [0.001, 0.5, 2.0]')

    assert sweep("//...").ran == [
        "//:best",
        "//:digits-lr@0.001,epochs@12",
        "//:digits-lr@0.001,epochs@4",
        "//:report",
    ]


def test_what_asks_for_large_machines_builds_where_it_can_and_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    executors = example("executors", tmp_path)
    bare = fake_driver(tmp_path, "")
    executors.env["PATH"] = f"{bare}:{os.environ['PATH']}"
    assert executors("//:net").ran == ["//:net"]
    assert "begin at step 0" in executors.run("log", "//:net").stdout
    assert json.loads(executors.output("net/model.json"))["slope"] == pytest.approx(2, abs=0.1)

    refused = executors.run("//:net_on_gpus")
    fake_driver(tmp_path, ROWS)
    granted = executors("//:net_on_gpus")
    elsewhere = [executors.run("--dry-run", "//:net", "--executor", one) for one in TABLES]

    assert refused.code == 36
    assert "needs 2 A100-80GB GPUs or 1 H100 GPU" in refused.stderr
    assert granted.ran == ["//:net_on_gpus"]
    assert [one.code for one in elsewhere] == [0, 0, 0]  # tables that are right, and nobody asked


def test_a_rule_of_ones_own_builds_and_has_help(tmp_path: Path) -> None:
    custom = example("custom_rule", tmp_path)

    assert custom("//...").ran == ["//:count", "//:ink"]
    assert custom.output("count/count.txt").strip() == "30"
    assert "A CSV file" in custom.run("help", "//tools:defs.bzl%csv_split").stdout
    assert len((custom.root / "tools/defs.bzl").read_text().splitlines()) <= 20


def test_the_wheel_holds_the_rules_and_the_grammar(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {f"mlbuild/_rules/{path.relative_to(REPOSITORY / 'rules')}" for path in _rules()}
    assert shipped <= names
    assert "mlbuild/lang/tables.json" in names
    assert not {name for name in names if name.startswith(("tests", "bench"))}


def _rules() -> list[Path]:
    found = [*(REPOSITORY / "rules").rglob("*.bzl"), *(REPOSITORY / "rules").rglob("*.py")]
    assert found
    return found
