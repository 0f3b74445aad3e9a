"""The example of an executor that somebody else brings, installed as a package."""

import json
import shutil
from pathlib import Path

import pytest

from mlbuild.exec.bubblewrap import Bubblewrap
from tests.harness import REPOSITORY, Build

NO_SANDBOX = Bubblewrap("").available()
pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)


@pytest.fixture
def gentle(build: Build, tmp_path: Path) -> Build:
    """Return a workspace that uses the example, which is installed beside mlbuild."""
    site = tmp_path / "site"
    installed = site / "mlbuild_nice-1.0.dist-info"
    installed.mkdir(parents=True)
    example = REPOSITORY / "examples/executor_plugin"
    shutil.copy(example / "src/mlbuild_nice.py", site)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mlbuild-nice\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[mlbuild.executors]\nnice = mlbuild_nice:open_nice\n"
    )
    assert 'nice = "mlbuild_nice:open_nice"' in (example / "pyproject.toml").read_text()
    build.file(
        "mlbuild.toml",
        '[workspace]\nname = "test"\n[executors.gentle]\nkind = "nice"\nby = 7\n',
    )
    build.env["PYTHONPATH"] = f"{site}:{REPOSITORY}"
    build.flags.extend(["--executor", "gentle"])
    return build


def test_an_executor_of_somebody_else_runs_actions(gentle: Build) -> None:
    gentle.genrule("nice", "cut -d' ' -f19 /proc/self/stat")

    done = gentle("//:nice")

    assert done.ran == ["//:nice"]
    assert gentle.output("nice/nice.txt").strip() == "7"
    result = json.loads(gentle.run("describe", "//:nice", "--json").stdout)["result"]
    assert (result["executor"], result["hermetic"]) == ("gentle", True)


def test_its_options_are_checked_like_ours(gentle: Build) -> None:
    gentle.edit("mlbuild.toml", "by = 7", "bye = 7")
    gentle.genrule("nice", "cat")

    done = gentle.run("build", *gentle.flags, "//:nice")

    assert done.code == 2
    assert "`bye`" in done.stderr
