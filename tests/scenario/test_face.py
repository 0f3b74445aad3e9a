"""mlbuild as a Python module: what a notebook or a program sees of a workspace."""

import subprocess
import sys
from pathlib import Path

import pytest

import mlbuild
from mlbuild.core.event import ActionFinished, Event
from mlbuild.errors import ActionError, GateError, InputError
from tests.harness import Build

SCRIPT = """
import json, os
context = json.load(open(os.environ["MLBUILD_CONTEXT"]))
open(context["outputs"]["model.txt"], "w").write("the model")
json.dump({"loss": 0.5}, open(context["outputs"]["metrics.json"], "w"))
"""


@pytest.fixture
def workspace(build: Build, monkeypatch: pytest.MonkeyPatch) -> mlbuild.Workspace:
    monkeypatch.setenv("MLBUILD_CACHE_DIR", str(build.cache))
    build.file("a.txt", "1").genrule("upper", "cat", "a.txt").genrule("bad", "exit 3")
    build.file("models/train.py", SCRIPT)
    build.file(
        "models/BUILD.ml",
        'train(name = "lenet", script = "train.py", outs = ["model.txt"], metrics = "metrics.json")'
        '\nevaluate(name = "check", script = "train.py", outs = ["model.txt"], '
        'gates = {"loss": "< 0.1"})\n',
    )
    return mlbuild.Workspace(str(build.root / "models"))


def test_a_build_tells_what_ran_and_where_its_outputs_lie(workspace: mlbuild.Workspace) -> None:
    events: list[Event] = []

    first = workspace.build("//:upper", ":lenet", emit=events.append)
    second = workspace.build("//:upper", ":lenet")

    assert sorted(first.ran) == ["//:upper", "//models:lenet"]
    assert first.exit_code == 0
    assert first.metrics["//models:lenet"] == {"loss": 0.5}
    assert [Path(path).read_text() for path in first.outputs["//:upper"]] == ["1"]
    assert sum(isinstance(event, ActionFinished) for event in events) == 2
    assert second.ran == ()
    assert sorted(second.cached) == ["//:upper", "//models:lenet"]
    assert second.outputs == first.outputs


def test_a_failure_is_an_exit_code_and_a_reason(workspace: mlbuild.Workspace) -> None:
    built = workspace.build("//:bad", "//:upper", keep_going=True, jobs=1)

    assert built.exit_code == 1
    assert built.failed == ("//:bad",)
    assert built.reasons == {"//:bad": "it ended with exit code 3"}
    assert list(built.outputs) == ["//:upper"]


def test_a_dry_run_and_a_query_build_nothing(workspace: mlbuild.Workspace) -> None:
    would = workspace.build("//...", dry_run=True)
    labels = workspace.query("//...", "-//:bad")

    assert "//models:lenet" in would.ran
    assert sorted(labels) == ["//:upper", "//models:check", "//models:lenet"]
    assert not (Path(workspace.root) / "mlbuild-out").exists()


def test_a_target_is_loaded_by_its_label(workspace: mlbuild.Workspace) -> None:
    loaded = mlbuild.load("//models:lenet", folder=workspace.root)

    assert loaded.metrics == {"loss": 0.5}
    assert Path(loaded.path("model.txt")).read_text() == "the model"
    assert workspace.load("lenet") == loaded
    with pytest.raises(InputError, match=r"has no output `modle\.txt`") as caught:
        loaded.path("modle.txt")
    assert caught.value.hints == ("did you mean `model.txt`?",)


def test_what_cannot_be_loaded_is_an_exception_of_its_kind(workspace: mlbuild.Workspace) -> None:
    with pytest.raises(ActionError, match="`//:bad` could not be built") as failed:
        workspace.load("//:bad")
    with pytest.raises(GateError):
        workspace.load(":check")
    with pytest.raises(InputError, match="no target `nothing`"):
        workspace.load(":nothing")

    assert failed.value.notes == ("`//:bad`: it ended with exit code 3",)
    assert failed.value.hints == ("`mlbuild log //:bad` shows its log",)


def test_importing_mlbuild_imports_nothing_else() -> None:
    program = """if True:
        import sys
        before = set(sys.modules)
        import mlbuild
        print(*sorted(set(sys.modules) - before))
    """

    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.split() == ["mlbuild"]
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = mlbuild.nothing  # type: ignore[attr-defined]
