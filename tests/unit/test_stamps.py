"""StatIndex: digests are always right, and files that look the same are not read again."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from mlbuild import columns
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Content
from mlbuild.core.tree import Entry, Kind, digest_tree, tree_of
from mlbuild.errors import InputError
from mlbuild.stamps import StatIndex

_watched: list[set[str]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _watched and event == "open" and isinstance(arguments[0], str):
        _watched[-1].add(os.path.basename(arguments[0]))


sys.addaudithook(_note)  # the interpreter tells which files are opened


@contextmanager
def opened() -> Iterator[set[str]]:
    """Yield the names of the files that are opened meanwhile."""
    _watched.append(set())
    try:
        yield _watched[-1]
    finally:
        _watched.pop()


def settle(root: Path) -> None:
    """Wait until everything below `root` is old enough for its stamp to be trusted."""
    paths = [root, *root.rglob("*")]
    newest = max(max(path.lstat().st_ctime_ns, path.lstat().st_mtime_ns) for path in paths)
    while time.time_ns() <= newest + 2 * columns.TICK:
        time.sleep(0.01)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a tree of everything that a tree can hold."""
    root = tmp_path / "workspace"
    (root / "d" / "sub" / "deep").mkdir(parents=True)
    (root / "d" / "empty").mkdir()
    (root / "a.txt").write_bytes(b"one")
    (root / "d" / "b.txt").write_bytes(b"two")
    (root / "d" / "sub" / "tool").write_bytes(b"three")
    (root / "d" / "sub" / "tool").chmod(0o755)
    (root / "d" / "sub.txt").write_bytes(b"sorts before what is in sub, as bytes")
    (root / "d" / "sub" / "deep" / os.fsdecode(b"\xff")).write_bytes(b"no text")
    (root / "d" / "sub" / "link").symlink_to("../b.txt")
    return root


def expected(root: Path) -> Content:
    """Return the content of `d`, put together in another way."""
    entries = []
    for path in (root / "d").rglob("*"):
        name = str(path.relative_to(root / "d"))
        if path.is_symlink():
            entries.append(Entry(name, Kind.SYMLINK, target=os.readlink(path)))
        elif path.is_file():
            kind = Kind.EXECUTABLE if os.access(path, os.X_OK) else Kind.FILE
            entries.append(Entry(name, kind, digest_of(path.read_bytes())))
        elif not list(path.iterdir()):
            entries.append(Entry(name, Kind.EMPTY))
    return Content("t", digest_tree(tree_of(entries)))


def test_a_file_and_a_folder_have_the_digests_that_others_compute(root: Path) -> None:
    index = StatIndex.open(str(root))

    found = index.files(["a.txt", "d/sub/tool"])

    assert found == {
        "a.txt": Content("f", Digest(blake3(b"one").hexdigest(), 3)),
        "d/sub/tool": Content("x", Digest(blake3(b"three").hexdigest(), 5)),
    }
    assert index.tree("d") == expected(root)


def test_a_copy_elsewhere_has_the_same_digest(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy", symlinks=True)

    copied = StatIndex.open(str(tmp_path / "copy")).tree("d")

    assert copied == StatIndex.open(str(root)).tree("d")


def test_what_looks_the_same_is_not_read_again(root: Path) -> None:
    settle(root)
    first = StatIndex.open(str(root))
    found = first.files(["a.txt"]), first.tree("d")
    first.save()

    with opened() as names:
        second = StatIndex.open(str(root))
        again = second.files(["a.txt"]), second.tree("d")

    assert again == found
    assert not names & {"a.txt", "b.txt", "tool"}


def test_what_was_written_just_now_is_read_once_more(root: Path) -> None:
    settle(root)
    first = StatIndex.open(str(root))
    (root / "a.txt").write_bytes(b"ONE")
    (root / "d" / "b.txt").write_bytes(b"TWO")
    first.files(["a.txt"])
    first.tree("d")
    first.save()

    with opened() as names:
        second = StatIndex.open(str(root))
        second.files(["a.txt"])
        second.tree("d")

    assert {"a.txt", "b.txt"} <= names  # an edit within the same tick would look the same
    assert "tool" not in names


def test_an_edit_of_the_same_size_with_the_old_time_is_seen(root: Path) -> None:
    settle(root)
    first = StatIndex.open(str(root))
    first.files(["a.txt"])
    first.tree("d")
    first.save()

    for path, text in {"a.txt": b"eno", "d/b.txt": b"owt"}.items():
        was = (root / path).stat()
        (root / path).write_bytes(text)
        os.utime(root / path, ns=(was.st_atime_ns, was.st_mtime_ns))

    second = StatIndex.open(str(root))
    assert second.files(["a.txt"])["a.txt"].digest == digest_of(b"eno")
    assert second.tree("d") == expected(root)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (d / "b.txt").chmod(0o755),
        lambda d: (d / "b.txt").unlink(),
        lambda d: (d / "sub" / "new").write_bytes(b"new"),
        lambda d: (d / "empty").rmdir(),
        lambda d: (d / "empty" / "within").mkdir(),
        lambda d: (d / "b.txt").rename(d / "c.txt"),
        lambda d: ((d / "sub" / "link").unlink(), (d / "sub" / "link").symlink_to("tool")),
        lambda d: ((d / "b.txt").unlink(), (d / "b.txt").symlink_to("sub.txt")),
    ],
    ids=["mode", "gone", "new", "empty gone", "empty new", "renamed", "link", "file to link"],
)
def test_any_change_of_a_tree_is_seen(root: Path, change: object) -> None:
    settle(root)
    first = StatIndex.open(str(root))
    before = first.tree("d")
    first.save()

    assert callable(change)
    change(root / "d")

    assert first.changed(["d"]) == ["d"]
    assert before != StatIndex.open(str(root)).tree("d") == expected(root)


def test_changed_names_exactly_the_files_that_were_touched(root: Path) -> None:
    index = StatIndex.open(str(root))
    index.files(["a.txt", "d/b.txt", "d/sub/tool"])
    assert index.changed(["a.txt", "d/b.txt", "d/sub/tool"]) == []

    (root / "a.txt").write_bytes(b"another")
    (root / "d" / "b.txt").unlink()

    assert index.changed(["a.txt", "d/b.txt", "d/sub/tool"]) == ["a.txt", "d/b.txt"]


def test_what_mlbuild_and_git_keep_is_no_part_of_a_tree(root: Path) -> None:
    before = StatIndex.open(str(root)).tree("")

    for folder in (".git", ".mlbuild", "mlbuild-out"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / "x").write_bytes(b"x")

    assert StatIndex.open(str(root)).tree("") == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "garbage", "another's"])
def test_a_damaged_index_costs_time_only(root: Path, tmp_path: Path, damage: str) -> None:
    settle(root)
    first = StatIndex.open(str(root))
    first.files(["a.txt"])
    right = first.tree("d")
    first.save()
    place = root / ".mlbuild" / "stat-index"
    content = place.read_bytes()
    if damage == "another's":
        shutil.copytree(root, tmp_path / "other", symlinks=True)
        root = tmp_path / "other"
        (root / "a.txt").write_bytes(b"eno")
    spoilt = {
        "truncated": [content[:size] for size in range(0, len(content), 97)],
        "flipped": [
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            for at in range(0, len(content), 97)
        ],
        "garbage": [b"", b"\n", os.urandom(500)],
        "another's": [content],
    }[damage]

    for one in spoilt:
        (root / ".mlbuild" / "stat-index").write_bytes(one)
        index = StatIndex.open(str(root))

        assert index.files(["a.txt"])["a.txt"].digest == digest_of((root / "a.txt").read_bytes())
        assert index.tree("d") == right


def test_what_leaves_the_workspace_or_is_no_file_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (root / "file").symlink_to(tmp_path / "outside" / "secret")
    (root / "folder").symlink_to("../outside")
    (root / "tree").mkdir()
    (root / "tree" / "up").symlink_to("../a.txt")
    (root / "pipes").mkdir()
    os.mkfifo(root / "pipes" / "pipe")
    index = StatIndex.open(str(root))

    for path in ("file", "folder/secret", "absent", "absent/too", "a.txt/below", "d", "pipes/pipe"):
        with pytest.raises(InputError, match=f"`{path.split('/', maxsplit=1)[0]}"):
            index.files([path])
    for path in ("folder", "tree", "absent", "a.txt", "pipes"):
        with pytest.raises(InputError, match=f"`{path}"):
            index.tree(path)


def test_a_link_that_stays_in_the_workspace_is_followed(root: Path) -> None:
    (root / "near").symlink_to("d/b.txt")
    (root / "folder").symlink_to("d")
    index = StatIndex.open(str(root))

    found = index.files(["near", "folder/b.txt"])

    assert {content.digest for content in found.values()} == {digest_of(b"two")}


def test_very_many_files_have_the_digest_that_others_compute(root: Path) -> None:
    (root / "d" / "many").mkdir()
    for number in range(3100):
        (root / "d" / "many" / f"{number}").write_bytes(b"%d" % number)

    assert StatIndex.open(str(root)).tree("d") == expected(root)
