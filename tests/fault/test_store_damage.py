"""Somebody or something damages files of the store: it costs time, never correctness."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Result
from mlbuild.store.disk import DiskStore, open_store

SMALL, LARGE = b"small content", b"large content " * 10_000
MANIFEST = b"facts that a result depends on"
KEY = digest_of(MANIFEST).hash
FILES = {"d/small": SMALL, "large": LARGE, "run": LARGE[::-1]}
OUTPUTS = [Output(path) for path in FILES]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    with open_store(str(tmp_path / "store")) as opened:
        yield opened


def build(store: DiskStore) -> Result:
    """Do what an engine does for one action: take the cached result if it is whole, or run."""
    cached = store.lookup(KEY)
    if cached is not None and store.complete(cached) and store.place(cached.tree) is not None:
        return cached
    out = store.scratch() + "/out"
    for path, content in FILES.items():
        os.makedirs(os.path.dirname(f"{out}/{path}"), exist_ok=True)
        Path(out, path).write_bytes(content)
    os.chmod(f"{out}/run", 0o755)  # noqa: S103 - an executable
    made = store.ingest(out, OUTPUTS)
    return store.publish(KEY, Result(made.contents, made.tree), manifest=MANIFEST)


def assert_right(store: DiskStore, result: Result) -> None:
    """Every byte that the store delivers is right, or is not delivered."""
    place = store.place(result.tree)
    assert place is not None
    found = {
        os.path.relpath(f"{at}/{name}", place): Path(at, name).read_bytes()
        for at, _, names in os.walk(place)
        for name in names
    }
    assert found == FILES
    for content in FILES.values():
        assert store.read(digest_of(content)) in {content, None}
    assert store.manifest(KEY) in {MANIFEST, None}


def flip(path: str, random: Random) -> None:
    content = bytearray(Path(path).read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    rewrite(path, bytes(content))


def truncate(path: str, random: Random) -> None:
    rewrite(path, Path(path).read_bytes()[: random.randrange(os.path.getsize(path))])


def empty(path: str, _: Random) -> None:
    rewrite(path, b"")


def extend(path: str, _: Random) -> None:
    rewrite(path, Path(path).read_bytes() + b"more")


def remove(path: str, _: Random) -> None:
    os.unlink(path)


def turn_into_folder(path: str, _: Random) -> None:
    os.unlink(path)
    os.mkdir(path)


def turn_into_link(path: str, _: Random) -> None:
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)


def forbid(path: str, _: Random) -> None:
    os.chmod(path, 0)


def swap(path: str, _: Random) -> None:
    """Put other bytes of the same size there, with the same mtime."""
    was = os.stat(path)
    rewrite(path, bytes(was.st_size))
    os.utime(path, ns=(was.st_mtime_ns, was.st_mtime_ns))


DAMAGES: list[Callable[[str, Random], None]] = [
    flip, truncate, empty, extend, remove, turn_into_folder, turn_into_link, forbid, swap
]  # fmt: skip


def rewrite(path: str, content: bytes) -> None:
    """Write in place: links to the inode see it."""
    os.chmod(path, 0o600)
    with open(path, "r+b") as opened:  # not to be truncated first
        opened.write(content)
        opened.truncate()


def all_files(root: str) -> list[str]:
    kinds = ("cas", "cas-x", "trees", "ac", "manifests")
    return sorted(
        f"{at}/{name}"
        for kind in kinds
        for at, _, names in os.walk(f"{root}/{kind}")
        for name in names
        if not os.path.islink(f"{at}/{name}") and not name.endswith(".real")
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_file_may_be_damaged(
    tmp_path: Path, damage: Callable[[str, Random], None]
) -> None:
    random = Random(7)  # noqa: S311 - not for secrets
    with open_store(str(tmp_path / "model")) as model:
        build(model)
        count = len(all_files(model.root))
    assert count == 2 + 1 + 2 + 4 + 1 + 1  # cas + cas-x + their stamps + tree + ac + manifest
    for number in range(count):
        with open_store(str(tmp_path / f"{number}")) as store:
            first = build(store)

            damage(all_files(store.root)[number], random)

            again = build(store)
            assert again.tree == first.tree
            assert_right(store, again)
            store.verify()
            assert store.verify().damaged == []
            assert_right(store, build(store))


def test_damage_that_left_no_trace_is_found_by_verify(store: DiskStore) -> None:
    result = build(store)
    path = f"{store.path(result.tree)}/d/small"
    swap(path, Random(1))  # noqa: S311
    pretend_unchanged(store, result)
    assert store.place(result.tree) is not None  # positive control: the stamps do match

    report = store.verify()

    assert report.damaged == report.healed
    assert len(report.damaged) == 1
    assert_right(store, result)


def pretend_unchanged(store: DiskStore, result: Result) -> None:
    """Write a sidecar with the stamps of now, as if the disk had changed the bytes by itself."""
    from mlbuild.store import sidecar  # noqa: PLC0415 - the inside of the store, only here

    place = store.path(result.tree)
    for at, _, names in os.walk(place):
        for name in names:
            executable = name == "run"
            os.chmod(f"{at}/{name}", 0o555 if executable else 0o444)
    old = sidecar.unpack(Path(place + ".stamps").read_bytes(), name=result.tree.hash)
    assert old is not None
    fd = os.open(place, os.O_RDONLY)
    columns = sidecar.take_columns(fd, old.paths)
    os.close(fd)
    assert columns is not None
    new = sidecar.Sidecar(old.paths, columns, old.encoded)
    Path(place + ".stamps").write_bytes(sidecar.pack(new))


def test_verify_without_repair_changes_nothing(store: DiskStore) -> None:
    result = build(store)
    flip(f"{store.path(result.tree)}/large", Random(1))  # noqa: S311
    before = all_files(store.root)

    report = store.verify(repair=False)

    assert len(report.damaged) == 2  # the tree, and the blob that is the same inode
    assert not report.whole
    assert all_files(store.root) == before


def test_a_stray_file_in_a_tree_is_noticed(store: DiskStore) -> None:
    result = build(store)
    place = store.path(result.tree)
    os.chmod(f"{place}/d", 0o755)  # noqa: S103
    Path(place, "d", "stray.pyc").write_bytes(b"x")

    assert_right(store, result)


def test_a_touched_file_with_the_right_bytes_is_accepted_and_sealed_again(store: DiskStore) -> None:
    result = build(store)
    path = f"{store.path(result.tree)}/d/small"
    os.chmod(path, 0o644)
    Path(path).write_bytes(SMALL)

    place = store.place(result.tree)

    assert place == store.path(result.tree)
    assert os.stat(path).st_mode & 0o777 == 0o444
    assert os.listdir(f"{store.root}/quarantine") == []
    assert {mtime for _, _, mtime, _, _ in store.stamps(result.tree)} == {315_532_800 * 10**9}


def test_times_that_no_clock_shows_do_no_harm(store: DiskStore) -> None:
    result = build(store)
    for name in ("d/small", "large"):
        os.utime(f"{store.path(result.tree)}/{name}", (2**33, 2**33))

    assert_right(store, build(store))


def test_a_file_replaced_by_a_pipe_does_not_hang(store: DiskStore) -> None:
    result = build(store)
    for path in all_files(store.root):
        os.unlink(path)
        os.mkfifo(path)

    assert store.place(result.tree) is None
    assert_right(store, build(store))


@pytest.mark.parametrize(
    "kind", ["cas", "cas-x", "trees", "ac", "manifests", "quarantine", "locks"]
)
def test_whole_folders_may_be_deleted(store: DiskStore, kind: str) -> None:
    build(store)

    store.drop(f"{store.root}/{kind}")

    assert_right(store, build(store))
    with store.key_lock(KEY) as lock:
        assert lock.try_acquire()


@pytest.mark.parametrize("name", ["tmp", "locks", "cas", "ac", "trees", "version", "quarantine"])
def test_anything_may_be_deleted_between_two_builds(tmp_path: Path, name: str) -> None:
    with open_store(str(tmp_path / "store")) as store:
        build(store)
        store.drop(f"{store.root}/{name}")

    with open_store(str(tmp_path / "store")) as store:
        assert_right(store, build(store))


def test_damage_of_many_random_files_at_once_is_survived(store: DiskStore) -> None:
    random = Random(11)  # noqa: S311
    for _ in range(60):
        result = build(store)
        for path in random.sample(all_files(store.root), 3):
            if not os.path.islink(path) and os.path.isfile(path) and os.path.getsize(path):
                random.choice(DAMAGES)(path, random)
        result = build(store)
        assert_right(store, result)
    store.verify()
    assert store.verify().damaged == []
