"""select_best.py, as rules run it: which trial wins, and what is copied of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "rules" / "tools" / "select_best.py"
Done = subprocess.CompletedProcess[str]


def select(folder: Path, *metrics: str, mode: str = "max") -> Done:
    """Select among trials that have these metrics; each has a model and a folder of plots."""
    names = [f"t{number}" for number in range(len(metrics))]
    words = ["--table", "out/best.json"]
    for name, text in zip(names, metrics, strict=True):
        plots = folder / name / "plots"
        plots.mkdir(parents=True)
        (folder / name / "metrics.json").write_text(text)
        (folder / name / "model").write_text(name)
        (folder / name / "model").chmod(0o555)
        (plots / "a.svg").write_text(name)
        (plots / "b.svg").symlink_to("a.svg")
        words += ["--trial", f"{name}/metrics.json", f"{name}/model", f"{name}/plots"]
    trials = [{"name": name, "params": {}} for name in names]
    params = {"metric": "deep.loss", "mode": mode, "trials": trials}
    (folder / "context.json").write_text(json.dumps({"params": params}))
    (folder / "out").mkdir()
    return subprocess.run(
        [sys.executable, "-I", TOOL, *words, "--out", "out/model", "out/plots"],
        cwd=folder,
        env={"PATH": os.defpath, "MLBUILD_CONTEXT": "context.json"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("losses", "mode", "winner"),
    [
        ((1, 3, 2), "max", "t1"),
        ((2, 1, 3), "min", "t1"),
        ((1, 1), "max", "t0"),
        ((5,), "min", "t0"),
    ],
)
def test_the_first_of_the_best_wins(
    tmp_path: Path, losses: tuple[int, ...], mode: str, winner: str
) -> None:
    done = select(tmp_path, *(json.dumps({"deep": {"loss": one}}) for one in losses), mode=mode)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model").read_text() == winner
    assert json.loads((tmp_path / "out/best.json").read_text())["best"] == winner


def test_files_folders_links_and_executable_bits_are_copied(tmp_path: Path) -> None:
    select(tmp_path, '{"deep": {"loss": 1}}')

    assert os.access(tmp_path / "out/model", os.X_OK)
    assert not os.access(tmp_path / "out/plots/a.svg", os.X_OK)
    assert os.readlink(tmp_path / "out/plots/b.svg") == "a.svg"
    (tmp_path / "out/model").write_text("a copy, not the trial's own file")
    assert (tmp_path / "t0/model").read_text() == "t0"


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ('{"deep": {"los": 1}}', "`t1` has no metric `deep.loss`; it has: deep.los"),
        ('{"deep": {"loss": NaN}}', "the metric `deep.loss` of `t1` is not a number (NaN)"),
        ('{"deep": {"loss": "low"}}', "`t1` has no metric `deep.loss`; it has: none"),
        ("[1]", "the metrics of `t1` are no JSON object"),
        ("{", "the metrics of `t1` are no JSON object"),
    ],
)
def test_a_trial_that_cannot_be_compared_is_named(tmp_path: Path, metrics: str, said: str) -> None:
    done = select(tmp_path, '{"deep": {"loss": 1}}', metrics)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
