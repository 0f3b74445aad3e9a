"""rules/tools/run_python.py: who draws numbers is seeded, without the script's doing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import REPOSITORY

FAKE_TORCH = """
seeds, deterministic = [], []

class backends:
    class cudnn:
        benchmark = True

def manual_seed(seed):
    seeds.append(seed)

def use_deterministic_algorithms(on):
    deterministic.append(on)
"""


def said(folder: Path, script: str, *, site: str = "-", **env: str) -> str:
    """Return what a script prints."""
    (folder / "script.py").write_text(script)
    command = [
        sys.executable,
        "-S",
        "-s",
        "-P",
        "-B",
        str(REPOSITORY / "rules/tools/run_python.py"),
    ]
    done = subprocess.run(
        [*command, site, "script.py"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


DRAW = "import random\nprint(random.random())"


def test_random_begins_with_the_seed(tmp_path: Path) -> None:
    first, again, other = (said(tmp_path, DRAW, MLBUILD_SEED=seed) for seed in ("3", "3", "4"))

    assert first == again != other
    assert first == said(tmp_path, "import random\nrandom.seed(3)\nprint(random.random())")


def test_without_a_seed_nothing_is_seeded(tmp_path: Path) -> None:
    assert said(tmp_path, DRAW) != said(tmp_path, DRAW)


def test_numpy_and_torch_are_seeded_once_they_are_imported(tmp_path: Path) -> None:
    (tmp_path / "site" / "numpy" / "random").mkdir(parents=True)
    (tmp_path / "site" / "numpy" / "__init__.py").write_text("from numpy import random\n")
    text = "seeds = []\ndef seed(value):\n    seeds.append(value)\n"
    (tmp_path / "site" / "numpy" / "random" / "__init__.py").write_text(text)
    (tmp_path / "site" / "torch.py").write_text(FAKE_TORCH)
    script = (
        "import sys\nassert 'numpy' not in sys.modules and 'torch' not in sys.modules\n"
        "import numpy, torch\n"
        "print(numpy.random.seeds, torch.seeds, torch.deterministic)\n"
        "print(torch.backends.cudnn.benchmark)\n"
    )

    plain = said(tmp_path, script, site="site", MLBUILD_SEED="4294967297")
    bitwise = said(tmp_path, script, site="site", MLBUILD_SEED="1", MLBUILD_DETERMINISM="bitwise")

    assert plain == "[1] [4294967297] []\nTrue\n"
    assert bitwise == "[1] [1] [True]\nFalse\n"


def test_a_module_that_is_seeded_looks_as_it_always_does(tmp_path: Path) -> None:
    script = (
        "import inspect, random, importlib\n"
        "print(vars(random.__loader__).keys() == {'name', 'path'})\n"
        "print('seed' in inspect.getsource(random))\n"
        "importlib.reload(random)\n"
    )

    assert said(tmp_path, script, MLBUILD_SEED="1") == "True\nTrue\n"


@pytest.mark.parametrize("seed", ["", "x"])
def test_a_seed_that_is_none_is_left_alone(tmp_path: Path, seed: str) -> None:
    assert said(tmp_path, "print('runs')", MLBUILD_SEED=seed) == "runs\n"
