"""The parts of a watch: what rings, what is named, where the kernel cannot be asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.watch.footing import Footing
from mlbuild.watch.inotify import Inotify
from mlbuild.watch.looks import Change, changes, looks_of
from mlbuild.watch.mounts import network_folder

SOON = 20.0  # seconds: what rings does so long before

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:35 / /home rw shared:20 master:1 - nfs4 server:/export rw
41 40 0:36 / /home/ada/local\\040disk rw - xfs /dev/vdb rw
42 22 0:37 / /mnt/remote rw - fuse.sshfs ada@host: rw
43 22 0:38 / /mnt/usb rw - fuseblk /dev/sda1 rw
44 22 0:39 / /mnt/remote rw - tmpfs tmpfs rw
"""


@pytest.fixture
def alarm() -> Iterator[Inotify]:
    found = Inotify()
    yield found
    found.close()


def footing(root: Path, *files: str, listings: tuple[str, ...] = ()) -> Footing:
    return Footing(
        str(root),
        frozenset(str(root / file) for file in files),
        frozenset(str(root / folder) for folder in listings),
    )


def test_only_what_matters_rings(alarm: Inotify, tmp_path: Path) -> None:
    for name in ("read", "unread", ".git", "mlbuild-out"):
        (tmp_path / name).touch()
    alarm.follow(footing(tmp_path, "read"))

    (tmp_path / "unread").write_text("text")
    (tmp_path / "mlbuild-out").unlink()
    unread = alarm.wait(0.3)
    (tmp_path / "read").write_text("text")
    read = alarm.wait(SOON)
    (tmp_path / "new").touch()
    new = alarm.wait(SOON)

    assert (unread, read, new) == (False, True, True)


def test_a_lost_event_rings(alarm: Inotify, tmp_path: Path) -> None:
    alarm.follow(footing(tmp_path))

    alarm.on_queue_overflow()

    assert alarm.wait(0)


def test_what_is_listened_to_for_the_first_time_is_told(alarm: Inotify, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()

    told = [
        alarm.follow(footing(tmp_path, "a")),
        alarm.follow(footing(tmp_path, "a")),
        alarm.follow(footing(tmp_path, "a", "b")),  # writes to `b` did not ring until now
        alarm.follow(footing(tmp_path, "a", listings=("below",))),
        alarm.follow(footing(tmp_path)),
    ]

    assert told == [True, False, True, True, False]
    assert alarm.count() == 1


def test_a_folder_that_took_the_place_of_another_is_new(alarm: Inotify, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    alarm.follow(footing(tmp_path, "one/file"))

    (tmp_path / "one").rename(tmp_path / "was")
    (tmp_path / "other").rename(tmp_path / "one")

    assert alarm.follow(footing(tmp_path, "one/file"))
    assert not alarm.follow(footing(tmp_path, "one/file"))


def test_what_differs_is_named(tmp_path: Path) -> None:
    for name in ("kept", "edited", "deleted"):
        (tmp_path / name).write_text(name)
    watched = footing(tmp_path, "kept", "edited", "deleted", "absent", listings=(".", "folder"))
    before = looks_of(watched)

    (tmp_path / "edited").write_text("other text")
    (tmp_path / "deleted").unlink()
    (tmp_path / "absent").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    found = changes(before, looks_of(watched))

    assert [(Path(one.path).name, one.how) for one in found] == [
        ("absent", "new"),
        ("deleted", "gone"),
        ("edited", "changed"),
        ("folder", "new"),  # and not what is in it
    ]
    assert isinstance(found[0], Change)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/ada/work", "nfs4"),
        ("/home/ada/local disk/work", None),
        ("/mnt/usb/work", None),
        ("/mnt/remote/work", None),  # something of this machine is mounted over it
        ("/work", None),
    ],
)
def test_folders_that_others_may_change_unseen_are_known(
    tmp_path: Path, folder: str, kind: str | None
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)

    found = network_folder(["/work", folder], table=str(table))

    assert found == ((folder, kind) if kind else None)
