"""Notebooks: what runs one again, what does not, and what is said of one that fails."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.harness import REPOSITORY, Build

EXAMPLE = REPOSITORY / "examples/notebook"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which the environment of notebooks is installed."""
    folder = tmp_path_factory.mktemp("notebooks")
    build = workspace(folder / "workspace", cache=folder / "cache")
    build(":env")
    return build.cache


@pytest.fixture
def notebook(tmp_path: Path, cache: Path) -> Build:
    """Return a copy of the example."""
    return workspace(tmp_path / "workspace", cache=cache)


def workspace(root: Path, *, cache: Path) -> Build:
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("mlbuild-out", ".mlbuild"))
    return Build(root, cache=cache)


def cells(build: Build, *sources: str, **more: Any) -> None:
    """Make the notebook one of these cells; `more` are attributes besides."""
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    content = {
        "cells": [{**code, "source": source} for source in sources],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    build.file("it.ipynb", json.dumps(content))
    given = "".join(f", {name} = {value!r}" for name, value in more.items())
    build.file(
        "BUILD.ml",
        'python_environment(name = "env", lock = "requirements.lock")\n'
        f'notebook(name = "it", notebook = "it.ipynb", environment = ":env"{given})\n',
    )


def executed(build: Build) -> Any:
    """Return the executed notebook."""
    return json.loads(build.output("it/it.ipynb"))


def commands_run(build: Build, *words: str) -> list[str]:
    """Build; return the mnemonics of the actions that ran a command."""
    build("--events", "events.jsonl", *words)
    lines = (build.root / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [one["mnemonic"] for one in events if one["type"] == "ActionFinished" and one["ran"]]


def test_the_notebook_example_runs_once(notebook: Build) -> None:
    done = notebook("//...")
    first = (notebook.root / "mlbuild-out/ink/ink.ipynb").read_bytes()

    assert done.report["metrics"]["//:ink"]["digits"] == 300
    assert len(notebook.output("ink/histogram.csv").splitlines()) == 1 + 8  # as `params` says
    assert notebook("//...").ran == []
    assert notebook("--rerun", ":ink").ran == ["//:ink"]
    assert (notebook.root / "mlbuild-out/ink/ink.ipynb").read_bytes() == first


def test_saving_it_with_its_outputs_runs_no_cell(notebook: Build) -> None:
    notebook(":ink")
    path = notebook.root / "ink.ipynb"
    content = json.loads(path.read_text())
    for number, cell in enumerate(content["cells"]):
        cell["id"] = f"other-{number}"
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]

    path.write_text(json.dumps(content))

    assert commands_run(notebook, ":ink") == ["strip"]
    content["cells"][-1]["source"] += ["\n", "1"]
    path.write_text(json.dumps(content))
    assert commands_run(notebook, ":ink") == ["strip", "notebook"]


def test_parameters_come_after_the_values_to_use_by_hand_or_first(notebook: Build) -> None:
    cells(notebook, "print(lr, name)", params={"lr": 0.5, "name": "a'b"})
    notebook(":it")

    first, second = executed(notebook)["cells"]
    assert "".join(first["source"]) == 'lr = 0.5\nname = "a\'b"'
    assert second["outputs"] == [{"name": "stdout", "output_type": "stream", "text": "0.5 a'b\n"}]
    assert [one["execution_count"] for one in (first, second)] == [1, 2]


def test_a_cell_sees_the_workspace_the_modules_beside_it_and_nothing_else(
    notebook: Build,
) -> None:
    notebook.file("deep/BUILD.ml").file("deep/beside.py", "WORD = 'beside'\n")
    source = (
        "import beside, json, os, sys\n"
        "with open('deep/beside.py') as file: print(len(file.read()))\n"
        "print(beside.WORD, json.load(open(os.environ['MLBUILD_CONTEXT']))['seed'])\n"
        "print(os.path.exists('requirements.lock'), 'pytest' in sys.modules)\n"
    )
    cells(notebook, source)
    (notebook.root / "it.ipynb").rename(notebook.root / "deep/it.ipynb")
    notebook.file(
        "deep/BUILD.ml",
        'notebook(name = "it", notebook = "it.ipynb", environment = "//:env",\n'
        '         srcs = ["beside.py"], seed = 7)\n',
    ).file("BUILD.ml", 'python_environment(name = "env", lock = "requirements.lock")\n')

    notebook("//deep:it")

    (cell,) = json.loads(notebook.output("deep/it/it.ipynb"))["cells"]
    assert "".join(cell["outputs"][0]["text"]) == "16\nbeside 7\nFalse False\n"


def test_what_differs_from_run_to_run_does_not_reach_the_output(notebook: Build) -> None:
    cells(
        notebook,
        "import sys\n"
        "for n in range(3):\n"
        "    print('out', n); print('err', n, file=sys.stderr)\n"
        "print('10%\\r20%\\rdone')\n"
        "object()",
    )
    notebook(":it")

    (cell,) = executed(notebook)["cells"]
    out, err, value = cell["outputs"]
    assert "".join(out["text"]) == "out 0\nout 1\nout 2\ndone\n"
    assert "".join(err["text"]) == "err 0\nerr 1\nerr 2\n"
    assert value["data"]["text/plain"] == "<object at 0x0>"


def test_a_cell_that_fails_is_named_with_its_line(notebook: Build) -> None:
    cells(notebook, "a = 1", "print('so far')\nb = a / 0\n", params={"c": 1})

    done = notebook.run(":it")

    assert done.code == 1
    assert "so far" in done.stderr
    assert "b = a / 0" in done.stderr
    assert "cell 2 failed: ZeroDivisionError: division by zero" in done.stderr
    assert "\x1b" not in done.stderr
    assert "nbclient" not in done.stderr


def test_a_kernel_that_dies_is_named_with_its_cell(notebook: Build) -> None:
    cells(notebook, "1", "import os\nos._exit(3)")

    done = notebook.run(":it")

    assert done.code == 1
    assert "the kernel died in cell 2" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"params": {"a-b": 1}}, "the parameter `a-b` cannot be the name of a variable"),
        ({"params": {"for": 1}}, "the parameter `for` cannot be the name of a variable"),
        ({"params": {"a": 1}, "paths": {"a": "b"}}, "`a` is given twice"),
    ],
)
def test_parameters_that_cannot_be_assigned_are_named(
    notebook: Build, given: dict[str, Any], said: str
) -> None:
    cells(notebook, "1", **given)

    done = notebook.run(":it")

    assert done.code == 1
    assert said in done.stderr


def test_an_environment_without_what_runs_notebooks_is_explained(notebook: Build) -> None:
    notebook.file("requirements.lock", "")
    cells(notebook, "1")

    done = notebook.run(":it")

    assert done.code == 1
    assert "a notebook needs the packages `nbclient` and `ipykernel`" in done.stderr


def test_without_a_sandbox_the_bytes_are_the_same(notebook: Build) -> None:
    notebook(":ink")
    first = (notebook.root / "mlbuild-out/ink/ink.ipynb").read_bytes()

    notebook("--executor", "process", ":ink")

    assert (notebook.root / "mlbuild-out/ink/ink.ipynb").read_bytes() == first
