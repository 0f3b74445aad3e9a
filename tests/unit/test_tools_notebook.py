"""strip_notebook.py, as rules run it: what counts of a notebook, and what does not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "rules" / "tools"
Done = subprocess.CompletedProcess[str]


def code(source: str | list[str], **more: Any) -> dict[str, Any]:
    """Return a cell of code."""
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    return {**cell, "source": source, **more}


def notebook(*cells: Any, **more: Any) -> dict[str, Any]:
    """Return a notebook."""
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}


def strip(folder: Path, content: Any) -> Done:
    """Strip a notebook; what is left is `out.ipynb`."""
    (folder / "in.ipynb").write_text(content if isinstance(content, str) else json.dumps(content))
    return subprocess.run(
        [sys.executable, "-I", TOOLS / "strip_notebook.py", "in.ipynb", "out.ipynb"],
        cwd=folder,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def stripped(folder: Path, content: Any) -> str:
    """Return what is left of a notebook."""
    done = strip(folder, content)
    assert done.returncode == 0, done.stderr
    return (folder / "out.ipynb").read_text()


def test_what_running_and_saving_leaves_does_not_count(tmp_path: Path) -> None:
    clean = stripped(tmp_path, notebook(code("a = 1\nb"), metadata={}))

    ran = stripped(
        tmp_path,
        notebook(
            code(
                ["a = 1\n", "b"],
                execution_count=7,
                id="4f1c",
                metadata={"collapsed": True, "execution": {"iopub.execute_input": "2026-01-01"}},
                outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}],
            ),
            metadata={
                "kernelspec": {"language": "python", "name": "my-venv"},
                "language_info": {"name": "python", "version": "3.12.1"},
                "widgets": {"state": {}},
            },
            nbformat_minor=4,
        ),
    )

    assert ran == clean


@pytest.mark.parametrize(
    "other",
    [
        notebook(code("a = 2")),
        notebook(code("a = 1"), code("")),
        notebook(code("a = 1", metadata={"tags": ["parameters"]})),
        notebook({"cell_type": "markdown", "metadata": {}, "source": "a = 1"}),
    ],
)
def test_what_it_says_counts(tmp_path: Path, other: Any) -> None:
    first = stripped(tmp_path, notebook(code("a = 1")))

    assert stripped(tmp_path, other) != first


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "`in.ipynb` is not JSON"),
        ({"worksheets": [], "nbformat": 3}, "it is no notebook of format 4"),
        (notebook(nbformat=5), "its format is 5, not 4"),
        (notebook({"cell_type": "poem"}), "cell 1 is none of code, markdown, raw"),
        (notebook(metadata={"kernelspec": {"language": "R"}}), "it is written in R"),
    ],
)
def test_what_is_no_notebook_is_said(tmp_path: Path, content: Any, said: str) -> None:
    done = strip(tmp_path, content)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
