"""What completion offers, without a shell around it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlbuild.cli.main import main

Offers = Callable[..., list[str]]
BREAKS = " \t\n\"'@><=;|&(:"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "w"
    for path, text in {
        "mlbuild.toml": '[workspace]\n[executors.gpubox]\nkind = "ssh"\n',
        "models/BUILD.ml": 'filegroup(name = "lenet")\nfilegroup(name = "lenet_eval")\n',
        "models/old/BUILD.ml": 'filegroup(\n    name = "mlp",\n)\n',
        "data/BUILD.ml": 'filegroup(name = "a b")\n',
        "notes/todo.md": "",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLBUILD_CACHE_DIR", str(tmp_path.parent / "cache"))  # of all tests
    return folder


@pytest.fixture
def offers(root: Path, capsys: pytest.CaptureFixture[str]) -> Offers:
    """Return what is offered after some words."""
    assert root.is_dir()

    def ask(*words: str) -> list[str]:
        code = main(["completion", "--words", "--", *words])
        said = capsys.readouterr()
        assert (code, said.err) == (0, "")
        return said.out.splitlines()

    return ask


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["que"], ["query"]),
        (["co"], ["completion", "config"]),
        (["help", "que"], ["query"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["query", "--or"], ["--order"]),
        (["query", "--order", ""], ["auto", "deps", "full", "no"]),
        (["query", "-o", "min"], ["minrank"]),
        (["query", "--output=min"], ["--output=minrank"]),
        (["--color", "al"], ["always"]),
        (["build", "--executor", "gpu"], ["gpubox"]),
        (["jobs", "--executor=s"], ["--executor=sandbox"]),
        (["--color", "always", "que"], ["query"]),
        (["-C", "models", "que"], ["query"]),
        (["query", "some"], ["some", "somepath"]),
        (["query", "deps(somep"], ["deps(somepath("]),
        (["query", "//models:lenet"], ["//models:lenet", "//models:lenet_eval"]),
        (["query", "//models/o"], ["//models/old:all", "//models/old:mlp"]),
        (["query", "deps(//models:lenet_"], ["deps(//models:lenet_eval"]),
        (["query", "//data:x + //models:lenet_"], ["//data:x + //models:lenet_eval"]),
        (["build", "-//models:lenet_"], ["-//models:lenet_eval"]),
        (["//models:a"], ["//models:all"]),
        (["zz"], []),
        (["models:lenet_"], ["models:lenet_eval"]),
        (["models/ol"], ["models/old:all", "models/old:mlp"]),
        (["-C", "models", "why", ":lenet_"], [":lenet_eval"]),
        (["-C", "models", "why", "old:m"], ["old:mlp"]),
        (["-C", "nowhere", "why", "//m"], []),
        (["fmt", "no"], ["<files>"]),
        (["build", "--events", ""], ["<files>"]),
        (["nonsense", "--x"], []),
        (["query", "//nowhere:x"], []),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_what_is_offered(
    offers: Offers,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    offered: list[str],
    *,
    known: bool,
) -> None:
    if known:
        assert main(["query", "//..."]) == 0
        capsys.readouterr()

    assert offers(*words) == offered


def test_packages_far_below_are_offered_once_they_are_known(
    offers: Offers, capsys: pytest.CaptureFixture[str]
) -> None:
    before = offers("query", "//")

    main(["query", "//..."])

    capsys.readouterr()
    assert before == ["//...", "//data:", "//models:"]
    assert offers("query", "//") == ["//...", "//data:", "//models/", "//models:"]
    assert offers("mo") == ["models/", "models:"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mlbuild que", ["query"]),
        ("mlbuild build //models:lenet_", ["lenet_eval"]),
        ("mlbuild query --output=min", ["minrank"]),
        ("mlbuild build //data:a", ["a\\ b", "all"]),
        ("mlbuild query 'deps(//models:lenet_", ["deps(//models:lenet_eval"]),
        ('mlbuild query "//data:a', ["//data:a b", "//data:all"]),
        ("mlbuild query 'kind(train, //...)' ", []),
        ("mlbuild build //models\\:lenet_", ["lenet_eval"]),
    ],
)
def test_bash_gets_what_it_puts_in_place_of_its_word(
    root: Path, capsys: pytest.CaptureFixture[str], line: str, offered: list[str]
) -> None:
    assert root.is_dir()

    code = main(["completion", f"--line={line}", f"--breaks={BREAKS}"])

    said = capsys.readouterr()
    found = said.out.splitlines()
    assert (code, said.err) == (0, "")
    assert found[: len(offered)] == offered if offered else "deps" in found


@pytest.mark.parametrize("damage", ["mlbuild.toml", "models/BUILD.ml", ".mlbuild/query/labels"])
def test_nothing_is_ever_said_while_completing(
    root: Path, offers: Offers, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    main(["query", "//..."])
    capsys.readouterr()
    (root / damage).parent.mkdir(parents=True, exist_ok=True)
    (root / damage).write_bytes(b"\xff\x00(((")

    for words in (["why", "//models:"], ["query", ""], [""], ["build", "--"]):
        assert isinstance(offers(*words), list)


def test_outside_of_a_workspace_commands_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offers: Offers
) -> None:
    monkeypatch.chdir(tmp_path)

    assert offers("ini") == ["init"]
    assert offers("why", "//") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["completion", shell])

    assert code == 0
    assert "mlbuild help completion" in capsys.readouterr().out
