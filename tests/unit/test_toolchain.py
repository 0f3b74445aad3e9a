"""Host tools are found by name, and their identity follows their content."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from mlbuild.errors import HostError, InputError
from mlbuild.exec.host import platform_id
from mlbuild.exec.toolchain import Toolchain


def test_python_is_the_interpreter_that_runs_us(tmp_path: Path) -> None:
    tool = Toolchain(str(tmp_path)).resolve("python")

    version = sys.version.split()[0]
    assert os.path.realpath(f"{tool.root}/{tool.executable}").startswith(
        os.path.realpath(sys.base_prefix)
    )
    assert tool.content.startswith(f"python {version} ")


def test_an_identity_is_remembered_and_the_same_when_it_is_not(tmp_path: Path) -> None:
    first = Toolchain(str(tmp_path / "a")).resolve("python")
    again = Toolchain(str(tmp_path / "a")).resolve("python")
    afresh = Toolchain(str(tmp_path / "b")).resolve("python")

    assert first == again == afresh


def test_a_damaged_memory_is_not_believed(tmp_path: Path) -> None:
    right = Toolchain(str(tmp_path)).resolve("python")
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"python", b"pythoN"))

    assert Toolchain(str(tmp_path)).resolve("python") == right


def test_a_version_that_is_not_here_is_an_error_that_names_those_which_are(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"Python 3\.99 is not on this host") as error:
        Toolchain(str(tmp_path)).resolve("python@3.99")

    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert own in error.value.hints[0]


def test_an_unknown_tool_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Toolchain(str(tmp_path)).resolve("pyton")

    assert error.value.hints == ("did you mean `python`?",)


def test_a_uv_is_known_by_its_version(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    found = Toolchain(str(tmp_path / "cache"), search=str(folder)).resolve("uv")

    assert found.content.startswith("uv ")
    assert os.access(found.root, os.X_OK)
    assert found.executable == ""


def test_shells_belong_to_the_platform(tmp_path: Path) -> None:
    tool = Toolchain(str(tmp_path)).resolve("sh")

    assert shutil.which("sh", path="/usr/bin:/bin") == tool.root
    assert tool.mount == ""


def test_the_platform_names_kernel_machine_distribution_and_libc() -> None:
    parts = platform_id().split("/")

    assert len(parts) == 3
    assert parts[0] == f"linux-{os.uname().machine}"
