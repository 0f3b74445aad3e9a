"""`mlbuild verify`: what repeats, what does not, and why."""

import json
from typing import Any

import pytest

from tests.harness import Build

NOISE = """
import json, os, time
out = os.environ["MLBUILD_OUT"]
count = time.time_ns()
with open(f"{out}/model.txt", "w") as file:
    file.write(f"weight {count}\\n")
with open(f"{out}/metrics.json", "w") as file:
    json.dump({"accuracy": 0.5 + (count % 1000) / 1e6, "classes": 10}, file)
"""


def noisy(build: Build, attributes: str = "") -> Build:
    """Declare `//:model`, a training that gives something else each time."""
    build.file("train.py", NOISE)
    return build.file(
        "BUILD.ml",
        'train(name = "model", script = "train.py", outs = ["model.txt"],'
        f' metrics = "metrics.json", {attributes})\n',
    )


def verify(build: Build, *words: str, code: int) -> list[dict[str, Any]]:
    """Return the verdicts of `mlbuild verify --json`."""
    done = build.run("verify", "--json", *words)
    assert done.code == code, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert report["exit_code"] == code
    targets: list[dict[str, Any]] = report["targets"]
    return targets


def test_a_target_that_repeats_is_identical(build: Build) -> None:
    build.genrule("upper", "tr a-z A-Z", "a.txt").file("a.txt", "a\n")

    done = build.run("verify", "//:upper")

    assert done.code == 0, done.stderr
    assert done.stdout == "//:upper  identical  2 runs\n"
    assert "(run 2 of 2)" in done.stderr


def test_what_differs_is_named_with_its_culprit_and_the_kept_result_stays(build: Build) -> None:
    noisy(build)
    build("//:model")
    kept = build.output("model/model.txt")

    done = build.run("verify", "//:model", "--runs", "1")
    (verdict,) = verify(build, "//:model", code=1)

    assert done.code == 1
    assert "//:model  differs  1 run" in done.stdout
    assert "line 1: it was `weight" in done.stdout
    assert "train.py:4" in done.stdout
    assert "[clock]" in done.stdout
    assert verdict["verdict"] == "differs"
    assert [one["runs"] for one in verdict["outputs"]] == [[1, 2], [1, 2]]
    assert build("//:model").ran == []
    assert build.output("model/model.txt") == kept
    alternates = list(build.cache.glob("ac/*/*.alt-*"))
    assert len(alternates) == 3  # one for each run that gave something new


def test_metrics_within_their_tolerance_are_enough_for_who_says_so(build: Build) -> None:
    noisy(build, 'determinism = "metric", tolerance = {"accuracy": 0.01}')

    (verdict,) = verify(build, "//:model", code=0)

    assert (verdict["verdict"], verdict["accepted"]) == ("metric-equal", True)
    assert {one["path"]: one["verdict"] for one in verdict["outputs"]} == {
        "model.txt": "differs",
        "metrics.json": "metric-equal",
    }


def test_metrics_outside_their_tolerance_are_not(build: Build) -> None:
    noisy(build, 'determinism = "metric", tolerance = {"accuracy": 1e-12}')

    (verdict,) = verify(build, "//:model", code=1)

    (metrics,) = (one for one in verdict["outputs"] if one["path"] == "metrics.json")
    assert [one["where"] for one in metrics["differences"]] == ["`accuracy`"]


def test_a_target_that_promises_nothing_is_only_reported(build: Build) -> None:
    noisy(build, 'determinism = "none"')

    (verdict,) = verify(build, "//:model", code=0)

    assert (verdict["verdict"], verdict["accepted"]) == ("differs", True)


FLAKY = """
import os
count = os.environ["MLBUILD_OUT"] + "/../../../../../count"
number = len(open(count).read()) if os.path.exists(count) else 0
open(count, "a").write("x")
assert number < {fails}, "enough"
open(os.environ["MLBUILD_OUT"] + "/o", "w").write(str(number > 0))
"""


def flaky(build: Build, *, fails: int) -> Build:
    """Declare `//:p`, which gives the same from its second run on and fails from run `fails` on.

    No sandbox keeps it from counting beside the store.
    """
    build.env["MLBUILD_EXECUTOR"] = "process"
    build.file("BUILD.ml", 'process(name = "p", script = "p.py", outs = ["o"])\n')
    return build.file("p.py", FLAKY.format(fails=fails))


def test_what_is_equal_here_but_not_to_what_is_kept_is_said(build: Build) -> None:
    flaky(build, fails=9)

    done = build.run("verify", "//:p")

    assert done.code == 1
    assert "all runs here gave the same" in done.stdout


def test_a_run_that_fails_is_no_success(build: Build) -> None:
    flaky(build, fails=2)

    (verdict,) = verify(build, "//:p", code=1)

    assert verdict["verdict"] == "failed"
    assert [one["reason"] for one in verdict["failures"]] == ["it ended with exit code 1"]


def test_a_checkpoint_of_a_killed_attempt_is_not_taken_up(build: Build) -> None:
    script = (
        "import json, os\n"
        "folder = json.load(open(os.environ['MLBUILD_CONTEXT']))['checkpoint']\n"
        "assert os.listdir(folder) == []\n"
        "open(folder + '/state', 'w').close()\n"
        "open(os.environ['MLBUILD_OUT'] + '/o', 'w').close()\n"
    )
    build.file("BUILD.ml", 'process(name = "p", script = "p.py", outs = ["o"])').file(
        "p.py", script
    )

    (verdict,) = verify(build, "//:p", code=0)

    assert verdict["verdict"] == "identical"


def test_patterns_and_targets_without_commands(build: Build) -> None:
    build.file("a.txt", "a\n").genrule("one", "cat", "a.txt").genrule("two", "cat", ":one")
    with (build.root / "BUILD.ml").open("a") as file:
        file.write('filegroup(name = "both", srcs = [":one", ":two"])\n')

    verdicts = verify(build, "//...", "--runs", "1", code=0)
    nothing = build.run("verify", "//:both")

    assert [one["label"] for one in verdicts] == ["//:one", "//:two"]
    assert nothing.code == 2
    assert "runs no command of its own" in nothing.stderr


@pytest.mark.parametrize("runs", ["0", "x", "101"])
def test_a_number_of_runs_that_is_none_is_refused(build: Build, runs: str) -> None:
    done = build.run("verify", "//:x", "--runs", runs)

    assert done.code == 2
    assert "from 1 to 100" in done.stderr


def test_a_target_that_cannot_be_built_is_not_verified(build: Build) -> None:
    build.genrule("bad", "false")

    done = build.run("verify", "//:bad")

    assert done.code == 1
    assert "FAILED" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ('determinism = "bitwse"', "bitwse"),
        ('tolerance = {"a": 0.1}', 'determinism = "metric"'),
        ('determinism = "metric", tolerance = {"a": -1}', "number from 0"),
        ('determinism = "metric", tolerance = [1]', "dict"),
    ],
)
def test_promises_that_cannot_be_meant_are_refused(
    build: Build, attributes: str, words: str
) -> None:
    done = noisy(build, attributes).run("//:model")

    assert done.code == 2
    assert words in done.stderr


def test_only_a_bitwise_promise_is_in_the_key(build: Build) -> None:
    build.file("p.py", "import os\nopen(os.environ['MLBUILD_OUT'] + '/o', 'w').close()\n")
    rule = 'process(name = "p", script = "p.py", outs = ["o"], {})\n'
    build.file("BUILD.ml", rule.format(""))
    build("//:p")

    build.file("BUILD.ml", rule.format('determinism = "none"'))
    assert build("//:p").ran == []
    build.file("BUILD.ml", rule.format('determinism = "bitwise"'))
    assert build("//:p").ran == ["//:p"]

    why = build.run("why", "//:p").stdout
    assert "determinism" in why
    assert "numerics" in why


def test_a_bitwise_script_is_told_so(build: Build) -> None:
    build.file(
        "p.py",
        "import os\nprint(os.environ['MLBUILD_DETERMINISM'], file=open("
        "os.environ['MLBUILD_OUT'] + '/o', 'w'))\n",
    )
    build.file(
        "BUILD.ml",
        'process(name = "p", script = "p.py", outs = ["o"], determinism = "bitwise")\n',
    )

    build("//:p")

    assert build.output("p/o") == "bitwise\n"
