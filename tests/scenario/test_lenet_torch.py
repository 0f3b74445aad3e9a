"""The digits with PyTorch, where its build for CPUs can be had."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, Build

WHEEL = "torch-2.13.0+cpu-cp311-*.whl"


def wheels() -> str:
    """Return the first folder that this machine takes wheels from and that has this one."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    told = [
        line.partition("=")[2].strip("'")
        for line in done.stdout.splitlines()
        if "find-links=" in line
    ]
    folders = " ".join([os.environ.get("UV_FIND_LINKS", ""), *told]).split()
    return next((folder for folder in folders if list(Path(folder).glob(WHEEL))), "")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not wheels(), reason=f"no folder that pip or uv know has {WHEEL}")
@pytest.mark.skipif(shutil.which("python3.11") is None, reason="there is no Python 3.11")
def test_lenet_learns_with_torch_and_repeats_to_the_last_bit(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "examples/lenet_torch",
        tmp_path / "lenet",
        ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild"),
    )
    build = Build(tmp_path / "lenet", cache=tmp_path / "cache")
    build.env["UV_FIND_LINKS"] = wheels()

    first = build("//...")
    again = build.run("verify", "//models:lenet", "--runs", "1")

    assert first.report["metrics"]["//models:lenet_eval"]["accuracy"] >= 0.97
    assert again.code == 0, again.stdout + again.stderr
    assert "//models:lenet  identical" in again.stdout
    assert build("//...").ran == []
