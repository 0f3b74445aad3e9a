"""A shared folder: what a team may do in it, and what somebody hostile cannot make of it."""

import os
import stat
import threading
from pathlib import Path

import pytest

from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.folder import STALE, FolderBucket


@pytest.fixture
def share(tmp_path: Path) -> FolderBucket:
    (tmp_path / "share").mkdir()
    return FolderBucket(str(tmp_path / "share"))


def files_in(folder: str) -> list[str]:
    return sorted(
        os.path.relpath(f"{at}/{name}", folder) for at, _, ns in os.walk(folder) for name in ns
    )


def test_of_many_who_write_at_once_one_is_first(share: FolderBucket) -> None:
    start, won = threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        if share.write("main/ac/ab/key", b"%d" % number * 1000, fresh=True):
            won.append(b"%d" % number * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [share.read("main/ac/ab/key")] == won
    assert files_in(share.root) == ["main/ac/ab/key"]


@pytest.mark.parametrize(
    ("root", "folder", "file"),
    [(0o755, 0o755, 0o644), (0o2775, 0o2775, 0o644), (0o700, 0o700, 0o600), (0o777, 0o777, 0o644)],
)
def test_modes_follow_those_of_the_folder_that_the_team_made(
    share: FolderBucket, root: int, folder: int, file: int
) -> None:
    os.chmod(share.root, root)
    mask = os.umask(0o077)

    try:
        share.write("main/ac/ab/key", b"1")
    finally:
        os.umask(mask)

    for path in ("main", "main/ac", "main/ac/ab"):
        assert stat.S_IMODE(os.stat(f"{share.root}/{path}").st_mode) == folder
    assert stat.S_IMODE(os.stat(f"{share.root}/main/ac/ab/key").st_mode) == file


@pytest.mark.parametrize("link", ["main", "main/ac", "main/ac/ab", "main/ac/ab/key"])
def test_no_link_in_the_folder_is_followed(share: FolderBucket, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    inner = "main/ac/ab/key".removeprefix(link).strip("/")
    (outside / inner).parent.mkdir(parents=True) if inner else None
    (outside / inner if inner else outside).write_bytes(b"mine")
    Path(share.root, link).parent.mkdir(parents=True, exist_ok=True)
    os.symlink(outside, f"{share.root}/{link}")

    for act in (
        lambda: share.read("main/ac/ab/key"),
        lambda: share.write("main/ac/ab/key", b"theirs", fresh=True),
        lambda: share.remove(["main/ac/ab/key"]),
    ):
        with pytest.raises(SharedTrouble) as caught:
            act()
        assert caught.value.kind == "damaged"

    assert (outside / inner if inner else outside).read_bytes() == b"mine"
    assert list(share.names("")) == []


def test_an_object_that_is_a_link_is_replaced_not_followed(
    share: FolderBucket, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_bytes(b"mine")
    os.makedirs(f"{share.root}/main")
    os.symlink(tmp_path / "outside", f"{share.root}/main/key")

    assert share.write("main/key", b"new")

    assert share.read("main/key") == b"new"
    assert (tmp_path / "outside").read_bytes() == b"mine"


def test_what_is_no_file_is_damage_and_does_not_hang(share: FolderBucket) -> None:
    os.makedirs(f"{share.root}/main/folder")
    os.mkfifo(f"{share.root}/main/pipe")

    for name in ("main/folder", "main/pipe"):
        with pytest.raises(SharedTrouble) as caught:
            share.read(name)
        assert caught.value.kind == "damaged"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".x", "a/.x", "a\nb"]
)
def test_a_name_that_leaves_the_folder_is_refused(share: FolderBucket, name: str) -> None:
    with pytest.raises(SharedTrouble, match="no name"):
        share.read(name)
    with pytest.raises(SharedTrouble, match="no name"):
        share.write(name, b"x")


def test_what_a_machine_left_when_it_died_is_not_seen_and_goes_later(share: FolderBucket) -> None:
    share.write("main/a", b"1")
    for name, age in ((".tmp-old", 2 * STALE), (".tmp-new", 0)):
        Path(share.root, "main", name).write_bytes(b"half")
        moment = os.stat(share.root).st_mtime_ns - age
        os.utime(f"{share.root}/main/{name}", ns=(moment, moment))

    assert [one.name for one in share.names("")] == ["main/a"]

    assert files_in(share.root) == ["main/.tmp-new", "main/a"]


def test_a_failed_write_leaves_nothing(
    share: FolderBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(SharedTrouble) as caught:
        share.write("main/a", b"1")

    assert caught.value.kind == "full"
    assert files_in(share.root) == []
