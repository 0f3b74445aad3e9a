"""Rules of the library through the real command line: sweep, select_best, report and others."""

import json
import re
from pathlib import Path

import pytest

from mlbuild import lang
from tests.harness import REPOSITORY, Build

TRAIN = """
import json, os
context = json.load(open(os.environ["MLBUILD_CONTEXT"]))
params, outputs = context["params"], context["outputs"]
json.dump({"model": params.get("batch")}, open(outputs["model.json"], "w"))
json.dump({"score": params["lr"] * 10, "deep": {"loss": -params["lr"]}},
          open(outputs["metrics.json"], "w"))
"""
EVALUATE = """
import json, os
context = json.load(open(os.environ["MLBUILD_CONTEXT"]))
batch = json.load(open(context["inputs"]["model"]))["model"]
json.dump({"batch": batch}, open(context["outputs"]["metrics.json"], "w"))
"""
SWEEP = """
sweep(
    name = "s",
    grid = {"lr": [0.1, 1e-05], "batch": [32]},
    params = {"optimizer": {"name": "adam"}},
    script = "train.py",
    outs = ["model.json"],
    metrics = "metrics.json",
)
"""
TRIALS = ["//:s-lr@0.1,batch@32", "//:s-lr@1e-05,batch@32"]


@pytest.fixture
def sweep(build: Build) -> Build:
    """Return a workspace with a sweep of two trials."""
    return build.file("train.py", TRAIN).file("evaluate.py", EVALUATE).file("BUILD.ml", SWEEP)


def append(build: Build, text: str) -> None:
    """Add declarations to the one BUILD.ml."""
    path = build.root / "BUILD.ml"
    path.write_text(path.read_text() + text)


def test_a_sweep_declares_a_target_for_each_point_and_a_group(sweep: Build) -> None:
    done = sweep(":s")

    assert done.ran == TRIALS
    assert done.report["outputs"]["//:s"] == [
        f"mlbuild-out/{label.removeprefix('//:')}/{name}"
        for label in TRIALS
        for name in ("model.json", "metrics.json")
    ]
    assert sweep(":s-lr@1e-05,batch@32").cached == [TRIALS[1]]


def test_a_value_that_is_added_runs_the_new_trials_alone(sweep: Build) -> None:
    sweep(":s")

    sweep.edit("BUILD.ml", '"lr": [0.1, 1e-05]', '"lr": [0.5, 0.1, 1e-05]')

    assert sweep(":s").ran == ["//:s-lr@0.5,batch@32"]


def test_points_params_and_other_rules_can_be_swept(build: Build) -> None:
    build.file(
        "show.py",
        "import json, os\n"
        'context = json.load(open(os.environ["MLBUILD_CONTEXT"]))\n'
        'json.dump(context["params"], open(context["outputs"]["out.json"], "w"))\n',
    ).file(
        "BUILD.ml",
        """
BASE = {"optimizer": {"name": "adam", "lr": 1.0}, "layers": 1}
sweep(
    name = "p",
    points = [
        {"optimizer.lr": 0.1, "note": "a/b c"},
        {"layers": [64, 32], "flag": True, "none": None},
    ],
    params = BASE,
    rule = process,
    script = "show.py",
    outs = ["out.json"],
)
""",
    )

    done = build(":p")

    first, second = "p-layers@64x32,flag@True,none@None", "p-optimizer.lr@0.1,note@a_b_c"
    assert done.ran == [f"//:{first}", f"//:{second}"]
    assert json.loads(build.output(f"{first}/out.json")) == {
        "flag": True,
        "layers": [64, 32],
        "none": None,
        "optimizer": {"lr": 1.0, "name": "adam"},
    }
    assert json.loads(build.output(f"{second}/out.json")) == {
        "layers": 1,
        "note": "a/b c",
        "optimizer": {"lr": 0.1, "name": "adam"},
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "needs either `grid` or `points`"),
        ('grid = {"a": [1]}, points = []', "needs either `grid` or `points`"),
        ("grid = {}", "sweep `x` has no point"),
        ('grid = {"a": []}', "`a` in the grid of sweep `x` is a list of values"),
        ('grid = {"a": [0.1, 0.1]}', "have the name `x-a@0.1`"),
        ('grid = {"a": ["b c", "b/c"]}', "have the name `x-a@b_c`"),
        ('grid = {"a": [{"b": 1}]}', 'the value {"b": 1} of `a`'),
        ('grid = {"a": [""]}', "it is empty"),
        ('grid = {"a,b": [1]}', '"a,b" in sweep `x` cannot be part'),
        ('grid = {"a": ["b" * 300]}', "at most 200 are possible"),
        ('grid = {"a.b": [1]}, params = {"a": 3}', "reaches into `a`, which is 3"),
        ('grid = {"a": [1]}, scirpt = "x.py"', "did you mean `script`?"),
    ],
)
def test_a_sweep_that_cannot_be_is_explained(build: Build, given: str, said: str) -> None:
    build.file("x.py").file("BUILD.ml", f'sweep(name = "x", {given})\n')

    done = build.run("//...")

    assert done.code == 2
    assert said in done.stderr
    assert "BUILD.ml:1" in done.stderr


def test_the_best_trial_is_a_target_that_an_evaluation_takes(sweep: Build) -> None:
    append(
        sweep,
        """
select_best(name = "best", trials = [":s"], metric = "deep.loss", mode = "min")
evaluate(name = "eval", script = "evaluate.py", model = ":best", gates = {"batch": "== 32"})
""",
    )

    done = sweep(":eval", ":best")

    assert done.report["metrics"]["//:eval"] == {"batch": 32}
    assert done.report["metrics"]["//:best"] == {"score": 1.0, "deep": {"loss": -0.1}}
    assert json.loads(sweep.output("best/best.json")) == {
        "best": "s-lr@0.1,batch@32",
        "metric": "deep.loss",
        "mode": "min",
        "value": -0.1,
        "trials": [
            {"name": "s-lr@0.1,batch@32", "value": -0.1, "params": {"lr": 0.1, "batch": 32}},
            {"name": "s-lr@1e-05,batch@32", "value": -1e-05, "params": {"lr": 1e-05, "batch": 32}},
        ],
    }


def test_while_the_same_bytes_win_what_depends_on_them_does_not_run(sweep: Build) -> None:
    append(
        sweep,
        """
select_best(name = "best", trials = [":s"], metric = "score")
evaluate(name = "eval", script = "evaluate.py", model = ":best")
""",
    )
    sweep(":eval")

    sweep.edit("BUILD.ml", '"lr": [0.1, 1e-05]', '"lr": [0.05, 0.1, 1e-05]')

    assert sweep(":eval").ran == ["//:best", "//:s-lr@0.05,batch@32"]


def test_of_equal_trials_the_first_one_wins_and_a_list_of_targets_serves(sweep: Build) -> None:
    append(
        sweep,
        """
TRIAL = {"script": "train.py", "outs": ["model.json"], "metrics": "metrics.json"}
train(name = "a", params = {"lr": 1, "batch": 1}, **TRIAL)
train(name = "b", params = {"lr": 1, "batch": 2}, **TRIAL)
select_best(name = "best", trials = [":s", ":b", ":a"], metric = "score")
""",
    )

    sweep(":best")

    assert json.loads(sweep.output("best/best.json"))["best"] == "b"
    assert json.loads(sweep.output("best/model.json")) == {"model": 2}


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ('trials = [":s"], metric = "scor"', 1, "`s-lr@0.1,batch@32` has no metric `scor`"),
        ('trials = [], metric = "score"', 2, "needs at least one trial"),
        ('trials = ["train.py"], metric = "score"', 2, "`train.py` is a file, not a trial"),
        ('trials = [":g"], metric = "score"', 2, "the trial `g` has no metrics"),
        ('trials = [":s", ":other"], metric = "score"', 2, "the trials have different outputs"),
        ('trials = [":s"], metric = "score", mode = "maxx"', 2, 'cannot be "maxx"'),
    ],
)
def test_trials_that_cannot_be_compared_are_named(
    sweep: Build, given: str, code: int, said: str
) -> None:
    sweep.genrule("g", "cat")
    append(
        sweep,
        f"""
train(
    name = "other",
    script = "train.py",
    outs = ["model.json", "x"],
    metrics = "metrics.json",
)
select_best(name = "best", {given})
""",
    )

    done = sweep.run(":best")

    assert done.code == code
    assert said in done.stderr


def test_a_suite_builds_its_checks_and_fails_as_they_do(sweep: Build) -> None:
    append(
        sweep,
        """
CHECK = {"script": "evaluate.py", "model": ":s-lr@0.1,batch@32"}
evaluate(name = "good", gates = {"batch": "== 32"}, **CHECK)
evaluate(name = "bad", gates = {"batch": "< 32"}, **CHECK)
test_suite(name = "fine", tests = [":good"])
test_suite(name = "all_checks", tests = [":fine", ":bad"])
""",
    )

    assert "//:good" in sweep(":fine").ran
    assert sweep("-k", ":all_checks", code=3).failed == ["//:bad"]


def test_a_report_runs_again_when_what_it_shows_has_changed_and_not_otherwise(
    sweep: Build,
) -> None:
    append(
        sweep,
        """
train(
    name = "t",
    script = "both.py",
    params = {"lr": 1, "batch": 1},
    outs = ["model.bin", "model.json"],
    metrics = "metrics.json",
)
report(name = "page", data = {"Trials": ":s", "One": ":t"})
""",
    )
    binary = "open(os.environ['MLBUILD_OUT'] + '/model.bin', 'w').write(str(params))\n"
    sweep.file("both.py", TRAIN + binary)
    sweep(":page")
    assert "| 0.1 | 32 | 1 | -0.1 |" in sweep.output("page/report.md")
    assert "<h2>One</h2>" in sweep.output("page/report.html")

    sweep.edit("BUILD.ml", '{"lr": 1, "batch": 1}', '{"lr": 1, "batch": 1, "more": 1}')
    assert sweep(":page").ran == ["//:t"]  # the model alone differs, which is not shown

    sweep.edit("BUILD.ml", '{"lr": 1, "batch": 1', '{"lr": 2, "batch": 1')
    assert sweep(":page").ran == ["//:page", "//:t"]


def test_a_report_of_nothing_to_show_is_refused(build: Build) -> None:
    build.genrule("g", "cat").file(
        "BUILD.ml",
        'genrule(name = "g", outs = ["g.bin"], cmd = "touch $@")\n'
        'report(name = "page", data = {"G": ":g"})\n'
        'sweep(name = "s", grid = {"a": [1]}, script = "g.py", outs = ["a"])\n'
        'report(name = "trials", data = {"S": ":s"})\n',
    ).file("g.py")

    page, trials = build.run(":page"), build.run(":trials")

    assert (page.code, trials.code) == (2, 2)
    assert "`G` has nothing that a report shows" in page.stderr
    assert "the trials of `S` have no metrics" in trials.stderr


def test_help_shows_a_rule_anywhere_and_those_of_a_workspace(build: Build, tmp_path: Path) -> None:
    build.file(
        "tools/defs.bzl",
        '''
def _impl(ctx):
    return struct(files = [])

mine = rule(
    implementation = _impl,
    doc = "Does what I want.",
    attrs = {"way": attr.string(values = ["this", "that"], default = "this", doc = "How.")},
)

def many(name, count = 3, *labels, **more):
    """Declares many.

    Args:
      name: The first
        of them.
      count (int): How many.
    """
''',
    )

    train = build.run("help", "train", cwd=tmp_path)
    mine = build.run("help", "//tools:defs.bzl%mine")
    many = build.run("help", "//tools:defs.bzl%many")
    whole = build.run("help", "//tools:defs.bzl")

    assert "  script          label, mandatory\n" in train.stdout
    assert '    train(\n        name = "lenet",\n' in train.stdout
    assert 'string, one of "this", "that", default "this"\n                  How.' in mine.stdout
    assert "The first of them." in many.stdout
    assert "  count           default 3\n                  How many." in many.stdout
    assert "**more" in many.stdout
    assert whole.stdout == "  many  Declares many.\n  mine  Does what I want.\n"


def test_help_as_json_has_what_a_rule_takes(build: Build, tmp_path: Path) -> None:
    found = json.loads(build.run("help", "--json", "select_best", cwd=tmp_path).stdout)
    every = json.loads(build.run("help", "--json", cwd=tmp_path).stdout)

    (mode,) = [one for one in found["parameters"] if one["name"] == "mode"]
    assert mode == {
        "name": "mode",
        "type": "string",
        "doc": "Whether the largest or the smallest value is the best.",
        "default": '"max"',
        "mandatory": False,
        "values": ['"max"', '"min"'],
    }
    assert every["select_best"] == found
    assert every["sweep"]["kind"] == "macro"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trian", "did you mean `train`?"),
        ("biuld", "did you mean `build`?"),
        ("qqqqqq", "see `mlbuild help` for commands, `mlbuild help rules` for rules"),
        ("//tools:defs.bzl%mien", "did you mean `mine`?"),
        ("//tools:def.bzl%mine", "did you mean `defs.bzl`?"),
    ],
)
def test_help_of_what_is_not_there_says_what_is_near(build: Build, word: str, said: str) -> None:
    build.file("tools/defs.bzl", "def mine():\n    pass\n")

    done = build.run("help", word)

    assert done.code == 2
    assert said in done.stderr


def test_the_page_of_rules_is_what_the_rules_say(build: Build, tmp_path: Path) -> None:
    written = build.run("help", "--markdown", cwd=tmp_path).stdout

    page = (REPOSITORY / "docs/rules.md").read_text()

    assert page == written, "run: mlbuild help --markdown > docs/rules.md"


def test_every_rule_of_the_library_is_described_with_an_example(
    build: Build, tmp_path: Path
) -> None:
    every = json.loads(build.run("help", "--json", cwd=tmp_path).stdout)

    for name, rule in every.items():
        examples = re.findall(r"```python\n(.*?)```", rule["doc"], re.DOTALL)
        assert examples, f"{name} has no example"
        for example in examples:
            lang.compile_file(example.encode(), name, dialect=lang.Dialect.BUILD)
            assert f"{name}(" in example
        unsaid = [one["name"] for one in rule["parameters"] if not one["doc"]]
        assert unsaid == [], f"{name} does not say what these are: {unsaid}"
