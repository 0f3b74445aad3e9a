"""Settings: where they come from, and what is said about wrong ones."""

import os
from pathlib import Path

import pytest

from mlbuild.config import Config, caller_env, load
from mlbuild.errors import HostError, InputError, Span
from mlbuild.settings import SETTINGS, Value
from mlbuild.workspace import Workspace, rules_root

HEAD = '[workspace]\nname = "digits"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mlbuild.toml").write_text(HEAD)
    return folder


def loaded(root: Path, environ: dict[str, str] | None = None, **flags: Value) -> Config:
    given = {"HOME": str(root.parent / "home")} | (environ or {})
    return load(
        str(root), environ=given, flags={name.replace("__", "."): flags[name] for name in flags}
    )


def refused(root: Path, text: str) -> InputError:
    (root / "mlbuild.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        loaded(root)
    return caught.value


def user_settings(root: Path, text: str) -> Path:
    path = root.parent / "home" / ".config" / "mlbuild" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_every_setting_has_a_default(root: Path) -> None:
    (root / "mlbuild.toml").write_text("")

    config = loaded(root)

    assert config.name == "work"
    assert config.jobs == len(os.sched_getaffinity(0))
    assert (config.executor, config.color, config.salt) == ("auto", "auto", "")
    assert config.keep_going is False
    assert config.cache_dir == str(root.parent / "home" / ".cache" / "mlbuild" / "v1")
    assert {config.origin(key) for key in SETTINGS} == {"default"}


def test_the_stronger_source_wins_and_is_named(root: Path) -> None:
    steps: list[tuple[str, int]] = []

    user = user_settings(root, "[build]\njobs = 1\n")
    steps.append((str(user), loaded(root).jobs))
    (root / "mlbuild.toml").write_text(HEAD + "[build]\njobs = 2\n")
    steps.append(("mlbuild.toml", loaded(root).jobs))
    (root / "mlbuild.local.toml").write_text("[build]\njobs = 3\n")
    steps.append(("mlbuild.local.toml", loaded(root).jobs))
    steps.append(("MLBUILD_JOBS", loaded(root, {"MLBUILD_JOBS": "4"}).jobs))
    flagged = loaded(root, {"MLBUILD_JOBS": "4"}, build__jobs="5")
    steps.append((flagged.origin("build.jobs"), flagged.jobs))

    assert [jobs for _, jobs in steps] == [1, 2, 3, 4, 5]
    assert flagged.origin("build.jobs") == "-j"
    assert loaded(root).origin("build.jobs") == "mlbuild.local.toml"


def test_an_empty_variable_is_as_good_as_none(root: Path) -> None:
    config = loaded(root, {"MLBUILD_JOBS": "", "MLBUILD_CACHE_DIR": ""})

    assert config.origin("build.jobs") == "default"
    assert config.cache_dir.endswith("/.cache/mlbuild/v1")


def test_xdg_folders_are_respected(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "xdg" / "mlbuild"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[build]\nsalt = 's'\n")

    config = loaded(
        root, {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "XDG_CACHE_HOME": str(tmp_path / "c")}
    )

    assert config.salt == "s"
    assert config.cache_dir == str(tmp_path / "c" / "mlbuild" / "v1")


def test_an_unknown_key_is_shown_where_it_stands_with_the_near_name(root: Path) -> None:
    error = refused(root, HEAD + "[build]\n# executer\n  executer = 'auto'\n")

    assert error.message == "no key `executer` is known in section `build`"
    assert error.span == Span("mlbuild.toml", 5, 3, 8)
    assert error.hints == ("did you mean `executor`?",)


def test_an_unknown_section_is_shown_where_it_stands(root: Path) -> None:
    error = refused(root, HEAD + "\n[biuld]\njobs = 1\n")

    assert "no section `biuld`" in error.message
    assert error.span == Span("mlbuild.toml", 4, 2, 5)
    assert error.hints == ("did you mean `build`?",)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("build.jbos = 1\n", Span("mlbuild.toml", 1, 7, 4)),
        ("build = { jbos = 1 }\n", Span("mlbuild.toml", 1, 11, 4)),
        ('[build]\n"jbos" = 1\n', Span("mlbuild.toml", 2, 2, 4)),
        ("[build.jbos]\nx = 1\n", Span("mlbuild.toml", 1, 2, 10)),
        ("[build]\njobs = 1\n[workspace]\njbos = 1\n", Span("mlbuild.toml", 4, 1, 4)),
    ],
)
def test_a_key_is_found_however_it_is_written(root: Path, text: str, span: Span) -> None:
    error = refused(root, text)

    assert "jbos" in error.message
    assert error.span == span


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('jobs = "4"', '`build.jobs` takes a whole number, not the text "4"'),
        ("jobs = true", "`build.jobs` takes a whole number, not `true`"),
        ("jobs = 1.5", "`build.jobs` takes a whole number, not the number 1.5"),
        ("jobs = 0", "`build.jobs` is at least 1, not 0"),
        ("keep_going = 1", "`build.keep_going` takes `true` or `false`, not the number 1"),
        ("salt = []", "`build.salt` takes a text, not a list"),
        (
            'executor = "podman"',
            "`build.executor` is `auto`, `sandbox`, `docker` or `process`, not `podman`",
        ),
    ],
)
def test_a_wrong_value_is_said_with_what_was_given(root: Path, line: str, said: str) -> None:
    error = refused(root, f"[build]\n{line}\n")

    assert error.message == said
    assert error.span is not None
    assert error.span.line == 2


def test_text_that_is_not_toml_is_an_error_with_its_place(root: Path) -> None:
    error = refused(root, HEAD + "[build\n")

    assert "`mlbuild.toml` is not valid TOML" in error.message
    assert error.span is not None
    assert error.span.line == 3


def test_bytes_that_are_not_text_are_an_error(root: Path) -> None:
    (root / "mlbuild.toml").write_bytes(b"a = 1\nb = '\xff'\n")

    with pytest.raises(InputError, match="not UTF-8") as caught:
        loaded(root)

    assert caught.value.span == Span("mlbuild.toml", 2, 1)


@pytest.mark.parametrize("name", ["mlbuild.toml", "mlbuild.local.toml"])
def test_a_workspace_does_not_decide_where_results_are_kept(root: Path, name: str) -> None:
    (root / name).write_text("[cache]\ndir = '/tmp/theirs'\n")

    with pytest.raises(InputError, match=r"`cache\.dir` is not taken from a workspace"):
        loaded(root)


def test_the_user_decides_where_results_are_kept(root: Path) -> None:
    path = user_settings(root, "[cache]\ndir = '~/results'\n")

    config = loaded(root)
    moved = loaded(root, {"MLBUILD_CACHE_DIR": "/big/store/"})

    assert config.cache_dir == str(root.parent / "home" / "results")
    assert config.origin("cache.dir") == str(path)
    assert (moved.cache_dir, moved.origin("cache.dir")) == ("/big/store", "MLBUILD_CACHE_DIR")


def test_a_store_that_depends_on_where_you_stand_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="`MLBUILD_CACHE_DIR` is not an absolute path: `store`"):
        loaded(root, {"MLBUILD_CACHE_DIR": "store"})


def test_the_name_of_a_workspace_is_not_a_users_setting(root: Path) -> None:
    user_settings(root, "[workspace]\nname = 'x'\n")

    with pytest.raises(InputError, match=r"belongs in the `mlbuild\.toml`"):
        loaded(root)


@pytest.mark.parametrize("bound", [">=0.1", ">=0.1, <9", "==0.1.0", "!=0.0.9", "<=99"])
def test_a_version_that_suits_is_accepted(root: Path, bound: str) -> None:
    (root / "mlbuild.toml").write_text(f"[workspace]\nrequires = '{bound}'\n")

    assert loaded(root).requires == bound


def test_another_version_than_the_workspace_needs_is_an_error(root: Path) -> None:
    error = refused(root, "[workspace]\nrequires = '>=0.1, >=99'\n")
    unreadable = refused(root, "[workspace]\nrequires = 'new'\n")

    assert "needs mlbuild >=0.1, >=99, but this is" in error.message
    assert error.span == Span("mlbuild.toml", 2, 1, 8)
    assert "`new`, which is no version bound" in unreadable.message


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("MLBUILD_JOBS", "many", "`MLBUILD_JOBS` takes a whole number, not `many`"),
        ("MLBUILD_JOBS", "-1", "`MLBUILD_JOBS` takes a whole number, not `-1`"),
        ("MLBUILD_KEEP_GOING", "perhaps", "`MLBUILD_KEEP_GOING` is `true` or `false`"),
        ("MLBUILD_COLOR", "red", "`MLBUILD_COLOR` is `auto`, `always` or `never`, not `red`"),
    ],
)
def test_a_wrong_variable_is_named(root: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(root, {name: text})

    assert caught.value.message.startswith(said)


def test_the_environment_is_not_shown_with_the_settings(root: Path) -> None:
    config = loaded(root, {"AWS_SECRET_ACCESS_KEY": "hush"})

    assert "hush" not in repr(config)
    assert config.caller_env(("AWS_*",)) == {"AWS_SECRET_ACCESS_KEY": "hush"}


def test_only_named_variables_reach_an_action() -> None:
    environ = {"UV_INDEX": "a", "UV_CACHE_DIR": "b", "UVX": "c", "HTTPS_PROXY": "d", "HOME": "e"}

    found = caller_env(("UV_*", "HTTPS_PROXY", "NO_PROXY"), environ)

    assert found == {"HTTPS_PROXY": "d", "UV_CACHE_DIR": "b", "UV_INDEX": "a"}
    assert caller_env(("*_PROXY",), environ) == {"HTTPS_PROXY": "d"}
    assert caller_env((), environ) == {}


def test_a_workspace_is_found_from_below(root: Path) -> None:
    below = root / "models" / "lenet"
    below.mkdir(parents=True)

    workspace = Workspace.find(str(below))

    assert workspace.root == str(root)
    assert workspace.package_of(str(below)) == "models/lenet"
    assert workspace.package_of(str(root)) == ""
    with pytest.raises(InputError, match="is not in the workspace"):
        workspace.package_of(str(root) + "2")


def test_no_workspace_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no `mlbuild\.toml` in") as caught:
        Workspace.find(str(tmp_path))

    assert "mlbuild init" in caught.value.hints[0]


def test_the_state_folder_is_made_when_asked_for_and_hidden_from_git(root: Path) -> None:
    workspace = Workspace(str(root))
    assert not (root / ".mlbuild").exists()

    state = workspace.state

    assert state == str(root / ".mlbuild")
    assert (root / ".mlbuild" / ".gitignore").read_text() == "*\n"
    assert workspace.out == str(root / "mlbuild-out")


def test_a_state_folder_that_cannot_be_made_is_a_trouble_of_the_host(root: Path) -> None:
    (root / ".mlbuild").write_text("a file is in the way")

    with pytest.raises(HostError, match="cannot write"):
        _ = Workspace(str(root)).state


def test_the_rule_library_is_where_the_package_says() -> None:
    assert (Path(rules_root()) / "prelude.bzl").is_file()


# Named configs

NAMED = """
[build]
jobs = 2

[config.gpu]
device = "cuda"
debug = true
level = 3
rate = 0.5
build.jobs = 4

[config.big]
size = "big"
level = 4
[config.big.build]
executor = "process"
"""


def test_a_named_config_sets_flags_as_text_and_settings(root: Path) -> None:
    (root / "mlbuild.toml").write_text(HEAD + NAMED)

    plain, used = loaded(root), loaded(root, build__config="gpu")

    host = os.uname()
    facts = {"os": (host.sysname.lower(),), "cpu": (host.machine,)}
    assert (plain.jobs, plain.flags) == (2, {**facts, "config": ()})
    assert used.flags == {
        **facts,
        "config": ("gpu",),
        "device": ("cuda",),
        "debug": ("true",),
        "level": ("3",),
        "rate": ("0.5",),
    }
    assert (used.jobs, used.origin("build.jobs")) == (4, "[config.gpu] of mlbuild.toml")
    assert used.origin("flags.device") == "[config.gpu] of mlbuild.toml"


def test_a_later_config_wins_and_a_define_wins_over_all(root: Path) -> None:
    (root / "mlbuild.toml").write_text(HEAD + NAMED)

    one = loaded(root, build__config="gpu,big")
    other = loaded(root, build__config="big,gpu")
    defined = load(
        str(root),
        environ={"HOME": "/h"},
        flags={"build.config": "gpu"},
        defines={"level": "9", "extra": "x"},
    )

    assert (one.flags["level"], other.flags["level"]) == (("4",), ("3",))
    assert (one.flags["config"], one.executor, one.jobs) == (("gpu", "big"), "process", 4)
    assert (defined.flags["level"], defined.flags["extra"]) == (("9",), ("x",))
    assert defined.origin("flags.level") == "--define"


def test_a_named_config_is_stronger_than_files_and_weaker_than_variables(root: Path) -> None:
    (root / "mlbuild.toml").write_text(HEAD + NAMED)
    (root / "mlbuild.local.toml").write_text("[build]\njobs = 7\n[config.gpu]\ndevice = 'tpu'\n")

    used = loaded(root, build__config="gpu")
    set_ = loaded(root, {"MLBUILD_JOBS": "5"}, build__config="gpu")

    assert (used.jobs, used.flags["device"], used.flags["level"]) == (4, ("tpu",), ("3",))
    assert (set_.jobs, set_.origin("build.jobs")) == (5, "MLBUILD_JOBS")


@pytest.mark.parametrize("written", ['config = ["gpu", "big"]', 'config = "gpu, big"'])
def test_configs_are_chosen_by_file_variable_or_flag(root: Path, written: str) -> None:
    (root / "mlbuild.toml").write_text(HEAD + f"[build]\n{written}\n" + NAMED[17:])

    assert loaded(root).configs == ("gpu", "big")
    assert loaded(root, {"MLBUILD_CONFIG": "big"}).configs == ("big",)
    assert loaded(root, {"MLBUILD_CONFIG": "big"}, build__config="gpu").configs == ("gpu",)
    assert loaded(root, build__config="").configs == ()


def test_an_executor_may_be_stood_in_for_only_where_that_is_said(root: Path) -> None:
    table = f'{HEAD}[executors.gpubox]\nkind = "ssh"\nhost = "gpu1"\n'
    (root / "mlbuild.toml").write_text(table)
    strict = loaded(root).executors["gpubox"]
    (root / "mlbuild.toml").write_text(f"{table}fallback = true\n")
    lenient = loaded(root).executors["gpubox"]

    wrong = refused(root, f'{table}fallback = "local"\n')

    assert (strict.fallback, lenient.fallback) == (False, True)
    assert strict.options == lenient.options == {"host": "gpu1"}
    assert "takes `true` or `false`, not the text" in wrong.message
    assert wrong.span is not None
    assert wrong.span.line == 6


def test_an_unknown_config_is_named_with_the_near_one(root: Path) -> None:
    (root / "mlbuild.toml").write_text(HEAD + NAMED)

    with pytest.raises(InputError) as caught:
        loaded(root, {"MLBUILD_CONFIG": "gup"})

    assert caught.value.message == (
        "`MLBUILD_CONFIG` names the config `gup`, which is nowhere defined"
    )
    assert caught.value.hints[0] == "did you mean `gpu`?"


@pytest.mark.parametrize(
    ("text", "said", "span"),
    [
        ("[config]\ngpu = 1\n", "`config.gpu` is a section", Span("mlbuild.toml", 2, 1, 3)),
        ("config = 1\n", "`config` holds tables", Span("mlbuild.toml", 1, 1, 6)),
        ("[config.gpu]\nos = 'x'\n", "flag `os` cannot be set", Span("mlbuild.toml", 2, 1, 2)),
        ("[config.gpu]\nx = []\n", "takes a text, a number", Span("mlbuild.toml", 2, 1, 1)),
        ("[config.gpu]\nx = nan\n", "takes a text, a number", Span("mlbuild.toml", 2, 1, 1)),
        ("[config.gpu]\nbuild = 1\n", "`build` is no flag", Span("mlbuild.toml", 2, 1, 5)),
        ("[config.gpu]\nbuild.jbos = 1\n", "no key `jbos`", Span("mlbuild.toml", 2, 7, 4)),
        ("[config.gpu.biuld]\njobs = 1\n", "no section `biuld`", Span("mlbuild.toml", 1, 2, 16)),
        ("[config.gpu.build]\njobs = 0\n", "at least 1", Span("mlbuild.toml", 2, 1, 4)),
        ("[config.g]\ncache.dir = '/x'\n", "not taken from a w", Span("mlbuild.toml", 2, 7, 3)),
        ("[config.g]\nbuild.config = 'x'\n", "from a named c", Span("mlbuild.toml", 2, 7, 6)),
        ("[config.g]\nworkspace.name = 'x'\n", "a named conf", Span("mlbuild.toml", 2, 11, 4)),
        ("[config.'a b']\n", "cannot be the name of a config", Span("mlbuild.toml", 1, 2, 12)),
        ("[build]\nconfig = 1\n", "takes a list of names", Span("mlbuild.toml", 2, 1, 6)),
    ],
)
def test_a_wrong_named_config_is_shown_where_it_stands(
    root: Path, text: str, said: str, span: Span
) -> None:
    error = refused(root, text)

    assert said in error.message
    assert error.span == span


@pytest.mark.parametrize("name", ["os", "cpu", "config", "a b", ""])
def test_a_flag_that_cannot_be_set_is_refused(root: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be"):
        load(str(root), environ={"HOME": "/h"}, flags={}, defines={name: "x"})
