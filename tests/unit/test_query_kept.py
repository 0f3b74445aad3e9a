"""The query graph is kept between commands, and never says what is not so any more."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlbuild.errors import InputError
from tests.asked import Asked


@pytest.fixture
def ask(tmp_path: Path) -> Asked:
    """Return a workspace whose graph is kept: its files are too old for their stamps to lie."""
    asked = Asked(tmp_path / "w")
    asked.file("tools/defs.bzl", "def group(name, **kwargs): filegroup(name = name, **kwargs)\n")
    asked.file("a/BUILD.ml", 'filegroup(name = "x", srcs = ["f.txt", "//b:y"])\n')
    asked.file(
        "b/BUILD.ml",
        'load("//tools:defs.bzl", "group")\n'
        'group(name = "y", srcs = glob(["*.txt"]) + ["sub/deep.txt"])\n',
    )
    for path in ("a/f.txt", "b/g.txt", "b/sub/deep.txt"):
        asked.file(path)
    asked.settle()
    asked("deps(//...)")
    asked.read.clear()
    return asked


ALL = [
    "//a:f.txt",
    "//a:x",
    "//b:g.txt",
    "//b:sub/deep.txt",
    "//b:y",
]


def test_what_is_kept_is_not_read_again(ask: Asked) -> None:
    found = ask("deps(//...)")

    assert found == ALL
    assert ask.read == []


def more(ask: Asked) -> None:
    ask.file("a/BUILD.ml", 'filegroup(name = "x")\nfilegroup(name = "z")\n')


def new_package(ask: Asked) -> None:
    ask.file("c/d/BUILD.ml", 'filegroup(name = "n")\n')


def package_gone(ask: Asked) -> None:
    ask.file("a/BUILD.ml", 'filegroup(name = "x")\n')
    shutil.rmtree(ask.root / "b")


def globbed(ask: Asked) -> None:
    ask.file("b/new.txt")


def loaded(ask: Asked) -> None:
    ask.file("a/BUILD.ml", 'filegroup(name = "x")\n')
    ask.file("tools/defs.bzl", 'def group(name, **kwargs): filegroup(name = name + "2")\n')


def workspace_of_its_own(ask: Asked) -> None:
    more(ask)
    ask.file("b/mlbuild.toml", "[workspace]\n")


def declared_instead(ask: Asked) -> None:
    ask.file(
        "a/BUILD.ml",
        'filegroup(name = "x", srcs = ["f.txt"])\n'
        'genrule(name = "g", outs = ["f.txt"], cmd = "echo > $@")\n',
    )


@pytest.mark.parametrize(
    ("edit", "found", "read"),
    [
        (more, ["//a:x", "//a:z", *ALL[2:]], ["a"]),
        (new_package, [*ALL, "//c/d:n"], ["c/d"]),
        (package_gone, ["//a:x"], ["a"]),
        (globbed, [*ALL[:3], "//b:new.txt", *ALL[3:]], ["b"]),
        (loaded, ["//a:x", "//b:y2"], ["a", "b"]),
        (workspace_of_its_own, ["//a:x", "//a:z"], ["a"]),
        (declared_instead, ["//a:f.txt", "//a:g", "//a:x", *ALL[2:]], ["a"]),
    ],
)
def test_an_edit_is_seen_and_only_its_package_is_read(
    ask: Asked, edit: Callable[[Asked], None], found: list[str], read: list[str]
) -> None:
    edit(ask)

    assert ask("deps(//...)") == found
    assert ask.read == read


def test_a_source_that_goes_away_is_missed(ask: Asked) -> None:
    (ask.root / "a/f.txt").unlink()

    with pytest.raises(InputError, match="no target or file `f"):
        ask("deps(//a:x)")
    assert ask("//a:x") == ["//a:x"]


def test_a_source_whose_folder_becomes_a_package_is_missed(ask: Asked) -> None:
    ask.file("b/sub/BUILD.ml")

    with pytest.raises(InputError, match="lies in another package, `//b/sub`"):
        ask("deps(//b:y)")


def test_a_file_beside_the_sources_changes_nothing(ask: Asked) -> None:
    ask.file("a/notes.md").file("b/sub/notes.md")

    assert ask("deps(//...)") == ALL
    assert ask.read == []


def test_edits_right_after_a_query_are_seen(tmp_path: Path) -> None:
    ask = Asked(tmp_path / "w").file("BUILD.ml")

    for number in range(20):
        ask.file("BUILD.ml", f'filegroup(name = "t{number:02}")\n')  # of one size

        assert ask("//...") == [f"//:t{number:02}"]


@pytest.mark.parametrize("damage", [b"", b"x" * 200, None])
def test_a_damaged_graph_is_read_anew(ask: Asked, damage: bytes | None) -> None:
    place = ask.root / ".mlbuild/query/graph"
    content = place.read_bytes()
    place.write_bytes(content[:-1] if damage is None else damage)

    assert ask("deps(//...)") == ALL
    assert ask.read == ["a", "b"]


def test_a_graph_that_was_moved_is_read_anew(ask: Asked) -> None:
    moved = Asked(ask.root.rename(ask.root.parent / "elsewhere"))

    assert moved("deps(//...)") == ALL
    assert moved.read == ["a", "b"]


def test_a_query_that_fails_keeps_what_it_has_read(ask: Asked) -> None:
    ask.file("a/BUILD.ml", "filegroup(")
    ask.settle()
    with pytest.raises(InputError):
        ask("deps(//...)")
    ask.read.clear()

    assert ask("//b:all") == ["//b:y"]
    assert ask.read == []
