"""Flags and named configs, from the command line to what runs."""

import json
import shutil
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, Build

TOML = """[workspace]
name = "test"
[config.gpu]
device = "cuda"
[config.plain]
build.executor = "process"
"""
CONDITIONS = """
config_setting(name = "gpu", values = {"device": "cuda"})
config_setting(name = "is_gpu", values = {"config": "gpu"})
"""
SELECTED = (
    'genrule(name = "t", outs = ["t.txt"], cmd = "echo " + select({\n'
    '    "//config:gpu": "gpu",\n'
    '    "//conditions:default": "cpu",\n'
    '}) + " > $@")\n'
)


@pytest.fixture
def configured(build: Build) -> Build:
    build.file("mlbuild.toml", TOML).file("config/BUILD.ml", CONDITIONS)
    return build.file("BUILD.ml", SELECTED)


def test_a_config_chooses_the_branch_and_going_back_is_a_hit(configured: Build) -> None:
    first = configured("//:t")
    plain = configured.output("t/t.txt")

    second = configured("--config", "gpu", "//:t")
    chosen = configured.output("t/t.txt")

    third = configured("//:t")
    assert (first.ran, second.ran, third.ran) == (["//:t"], ["//:t"], [])
    assert (plain, chosen, configured.output("t/t.txt")) == ("cpu\n", "gpu\n", "cpu\n")


def test_a_config_that_changes_nothing_for_a_target_is_a_hit(configured: Build) -> None:
    configured.genrule("same", "cat")("//:same")

    done = configured("--config", "gpu", "--define", "size=big", "//:same")

    assert (done.ran, done.cached) == ([], ["//:same"])


def test_a_flag_is_set_in_every_way_with_one_key(configured: Build) -> None:
    configured("--config", "gpu", "//:t")

    defined = configured("--define", "device=cuda", "//:t")
    configured.env["MLBUILD_CONFIG"] = "gpu"
    variable = configured("//:t")
    del configured.env["MLBUILD_CONFIG"]
    configured.edit("mlbuild.toml", "[config.gpu]", '[build]\nconfig = "gpu"\n[config.gpu]')
    setting = configured("//:t")

    assert [one.ran for one in (defined, variable, setting)] == [[], [], []]
    assert configured.output("t/t.txt") == "gpu\n"


def test_the_same_words_under_another_variable_are_another_build(configured: Build) -> None:
    configured("//:t")
    configured("//:t")  # now known without looking at the graph

    configured.env["MLBUILD_CONFIG"] = "gpu"

    assert configured("//:t").ran == ["//:t"]


def test_an_edited_config_is_noticed(configured: Build) -> None:
    configured("--config", "gpu", "//:t")

    configured.edit("mlbuild.toml", "cuda", "tpu")

    assert configured("--config", "gpu", "//:t").ran == ["//:t"]
    assert configured.output("t/t.txt") == "cpu\n"


def test_a_config_in_use_is_a_condition_itself(configured: Build) -> None:
    configured.edit("BUILD.ml", "//config:gpu", "//config:is_gpu")

    configured("--config", "gpu", "//:t")
    chosen = configured.output("t/t.txt")
    configured("--define", "device=cuda", "//:t")

    assert (chosen, configured.output("t/t.txt")) == ("gpu\n", "cpu\n")


def test_a_config_sets_settings(configured: Build) -> None:
    done = configured.run("--config", "plain", "//:t")

    assert done.code == 0
    assert "actions run as plain processes" in done.stderr


def test_config_shows_flags_and_where_they_came_from(configured: Build) -> None:
    done = configured.run("config", "--json", "--config", "gpu", "--define", "size=big")

    shown = json.loads(done.stdout)
    assert shown["build.config"] == {"value": ["gpu"], "origin": "--config"}
    assert shown["flags.device"] == {"value": "cuda", "origin": "[config.gpu] of mlbuild.toml"}
    assert shown["flags.size"] == {"value": "big", "origin": "--define"}
    assert shown["flags.os"] == {"value": "linux", "origin": "this host"}


def test_why_and_log_look_at_the_target_that_the_flags_mean(configured: Build) -> None:
    configured("--config", "gpu", "//:t")

    why = configured.run("why", "--config", "gpu", "//:t")
    other = configured.run("why", "//:t")

    assert "is up to date" in why.stdout
    assert "would run" in other.stdout
    assert configured.run("log", "--config", "gpu", "//:t").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--config", "gup", "//:t"), "`--config` names the config `gup`"),
        (("--define", "device", "//:t"), "`--define` takes KEY=VALUE, not `device`"),
        (("--define", "os=mac", "//:t"), "the flag `os` cannot be set"),
        (("--config",), "`--config` needs a value"),
    ],
)
def test_wrong_words_are_said(configured: Build, words: tuple[str, ...], said: str) -> None:
    done = configured.run(*words)

    assert done.code == 2
    assert said in done.stderr


def test_query_shows_what_is_declared(configured: Build) -> None:
    labels = configured.run("query", "//...")
    build = configured.run("query", "--output=build", "//:t")
    wrong = configured.run("query", "--output", "lable", "//:t")

    assert labels.stdout.split() == ["//:t", "//config:gpu", "//config:is_gpu"]
    assert '"echo " + select({' in build.stdout
    assert (wrong.code, "did you mean `label`?" in wrong.stderr) == (2, True)


def test_the_example_of_configs_does_what_it_says(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild")
    shutil.copytree(REPOSITORY / "examples/configs", tmp_path / "configs", ignore=ignored)
    build = Build(tmp_path / "configs", cache=tmp_path / "cache")

    sample, full = build("//..."), build("--config", "full", "//...")

    assert sample.report["metrics"]["//models:mean"] == {"rows": 3, "mean": 1.5}
    assert full.report["metrics"]["//models:mean"] == {"rows": 10, "mean": 5.5}
    assert build("//...").ran == []
