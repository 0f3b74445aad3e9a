"""What every Store and Cache promises, and what the one on disk promises besides."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlbuild.core.action import Output
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, digest_tree, tree_of
from mlbuild.errors import ActionError, InputError
from mlbuild.store.base import Cache, Store
from mlbuild.store.checkout import checkout
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.gc import clean
from mlbuild.store.ingest import Ingested
from tests.contract import places

LARGE = b"large " * 20_000  # shares its inode
HUGE = b"huge file" * 600_000  # is hashed through a map


class StoreAndCache(Store, Cache, Protocol):
    """Both protocols in one object."""


IMPLEMENTATIONS = ["disk", *places.KINDS]


@pytest.fixture(params=IMPLEMENTATIONS)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreAndCache]:
    if request.param == "disk":
        yield open_store(str(tmp_path / "store"))
        return
    with places.shared_place(request.param, request, tmp_path) as place:
        yield place.machine()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    with open_store(str(tmp_path / "store")) as opened:
        yield opened


def made(store: DiskStore, files: dict[str, bytes]) -> str:
    """Return an output folder with `files`, as an action leaves it."""
    out = store.scratch() + "/out"
    os.mkdir(out)
    for path, content in files.items():
        os.makedirs(os.path.dirname(f"{out}/{path}"), exist_ok=True)
        Path(out, path).write_bytes(content)
    return out


def kept(store: DiskStore, files: dict[str, bytes]) -> Ingested:
    return store.ingest(made(store, files), [Output(path) for path in files])


def result(store: DiskStore, files: dict[str, bytes], *, seconds: float = 1.0) -> Result:
    ingested = kept(store, files)
    return Result(ingested.contents, ingested.tree, seconds=seconds)


def loose(number: int) -> Result:
    """Return a result that names bytes which are nowhere."""
    digest = digest_of(b"%d" % number)
    return Result((("a", Content("f", digest)),), digest_tree(Tree(())), seconds=float(number))


def key_of(manifest: bytes) -> str:
    return digest_of(manifest).hash


# -- every Store


@pytest.mark.parametrize("content", [b"", b"a", b"x" * 65_535, b"x" * 65_536, LARGE, HUGE])
def test_what_was_put_can_be_read_and_fetched(
    any_store: StoreAndCache, tmp_path: Path, content: bytes
) -> None:
    digest = any_store.put(content)

    assert digest == digest_of(content)
    assert any_store.missing([digest]) == set()
    assert any_store.read(digest) == content
    assert any_store.fetch(digest, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content


def test_what_was_never_put_is_missing(any_store: StoreAndCache, tmp_path: Path) -> None:
    here, absent = any_store.put(b"here"), digest_of(b"absent")

    assert any_store.missing([here, absent]) == {absent}
    assert any_store.read(absent) is None
    assert not any_store.fetch(absent, str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("content", [b"", b"small", LARGE, HUGE])
def test_a_file_is_kept_and_left_as_it_is(
    any_store: StoreAndCache, tmp_path: Path, content: bytes
) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    source.chmod(0o640)
    before = source.stat()

    any_store.put_file(str(source), digest_of(content))

    assert any_store.read(digest_of(content)) == content
    after = source.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink, after.st_ctime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_nlink,
        before.st_ctime_ns,
    )


def test_a_file_that_changed_after_it_was_hashed_is_refused(
    any_store: StoreAndCache, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"new")
    old = digest_of(b"old")

    with pytest.raises(InputError, match="changed"):
        any_store.put_file(str(source), old)

    assert any_store.missing([old]) == {old}


def test_a_fetched_file_can_be_changed_without_harm(
    any_store: StoreAndCache, tmp_path: Path
) -> None:
    digest = any_store.put(LARGE)
    any_store.fetch(digest, str(tmp_path / "copy"))

    (tmp_path / "copy").write_bytes(b"changed")

    assert any_store.read(digest) == LARGE


# -- every Cache


def test_a_published_result_is_found_with_its_manifest(any_store: StoreAndCache) -> None:
    manifest = b"facts"

    published = any_store.publish(key_of(manifest), loose(1), manifest=manifest)

    assert published == loose(1)
    assert any_store.lookup(key_of(manifest)) == loose(1)
    assert any_store.manifest(key_of(manifest)) == manifest


def test_an_unknown_key_has_no_result(any_store: StoreAndCache) -> None:
    assert any_store.lookup(key_of(b"x")) is None
    assert any_store.manifest(key_of(b"x")) is None


# -- results on disk


def test_the_first_of_two_results_wins_and_the_other_is_an_alternate(store: DiskStore) -> None:
    first, second = result(store, {"a": b"1"}), result(store, {"a": b"2"})
    store.publish(key_of(b"m"), first, manifest=b"m")

    kept_one = store.publish(key_of(b"m"), second, manifest=b"m")

    assert kept_one == first == store.lookup(key_of(b"m"))
    assert store.alternates(key_of(b"m")) == [second]


def test_the_same_outputs_again_are_no_alternate(store: DiskStore) -> None:
    first, again = result(store, {"a": b"1"}), result(store, {"a": b"1"}, seconds=2.0)
    store.publish(key_of(b"m"), first, manifest=b"m")

    kept_one = store.publish(key_of(b"m"), again, manifest=b"m")

    assert kept_one == first
    assert store.alternates(key_of(b"m")) == []


def test_at_most_eight_alternates_are_kept(store: DiskStore) -> None:
    for number in range(12):
        store.publish(key_of(b"m"), result(store, {"a": b"%d" % number}), manifest=b"m")

    assert [r.outputs[0][1].digest for r in store.alternates(key_of(b"m"))] == [
        digest_of(b"%d" % number) for number in range(1, 9)
    ]


def test_a_result_whose_bytes_are_gone_gives_way_to_a_new_one(store: DiskStore) -> None:
    store.publish(key_of(b"m"), loose(1), manifest=b"m")
    whole = result(store, {"a": b"1"})
    assert not store.complete(loose(1))

    kept_one = store.publish(key_of(b"m"), whole, manifest=b"m")

    assert kept_one == whole == store.lookup(key_of(b"m"))


def test_a_result_is_complete_only_with_its_log(store: DiskStore) -> None:
    made_one = kept(store, {"a": b"1"})
    log = digest_of(b"the log")
    with_log = Result(made_one.contents, made_one.tree, log=log)
    assert not store.complete(with_log)

    store.put(b"the log")

    assert store.complete(with_log)


# -- from an output folder to a tree


def test_outputs_become_an_immutable_tree(store: DiskStore) -> None:
    out = made(store, {"model.bin": LARGE, "sub/notes.txt": b"notes", "sub/run.sh": b"#!/bin/sh\n"})
    os.chmod(f"{out}/sub/run.sh", 0o6755)  # noqa: S103 - set-user-id bits must go
    outputs = [Output("sub/run.sh"), Output("model.bin"), Output("sub/notes.txt")]

    ingested = store.ingest(out, outputs)

    assert ingested.contents == (
        ("sub/run.sh", Content("x", digest_of(b"#!/bin/sh\n"))),
        ("model.bin", Content("f", digest_of(LARGE))),
        ("sub/notes.txt", Content("f", digest_of(b"notes"))),
    )
    place = store.place(ingested.tree)
    assert place is not None
    assert not os.path.exists(out)
    modes = {
        path: stat.S_IMODE(os.lstat(f"{place}/{path}").st_mode)
        for path in ("", "sub", "model.bin", "sub/notes.txt", "sub/run.sh")
    }
    assert modes == {
        "": 0o555,
        "sub": 0o555,
        "model.bin": 0o444,
        "sub/notes.txt": 0o444,
        "sub/run.sh": 0o555,
    }
    assert {os.lstat(f"{place}/{path}").st_mtime for path in modes} == {315_532_800}
    assert store.place(ingested.tree, "sub/notes.txt") == f"{place}/sub/notes.txt"
    assert store.place(ingested.tree, "sub") == f"{place}/sub"
    assert store.place(ingested.tree, "../x") is None


def test_a_large_file_has_one_inode_and_a_small_one_two(store: DiskStore) -> None:
    place = store.place(kept(store, {"large": LARGE, "small": b"small"}).tree)

    assert os.lstat(f"{place}/large").st_nlink == 2
    assert os.lstat(f"{place}/small").st_nlink == 1
    assert store.missing([digest_of(LARGE), digest_of(b"small")]) == set()


def test_a_large_file_with_and_without_the_executable_bit_has_two_inodes(store: DiskStore) -> None:
    plain = kept(store, {"a": LARGE})
    out = made(store, {"a": LARGE})
    os.chmod(f"{out}/a", 0o700)

    executable = store.ingest(out, [Output("a")])

    modes = [
        os.lstat(f"{store.place(tree)}/a").st_mode & 0o777 for tree in (plain.tree, executable.tree)
    ]
    assert modes == [0o444, 0o555]


def test_the_same_outputs_twice_are_one_tree(store: DiskStore) -> None:
    first = kept(store, {"a": LARGE, "b": b"b"})
    before = store.stamps(first.tree)

    second = kept(store, {"a": LARGE, "b": b"b"})

    assert second.tree == first.tree
    assert store.place(first.tree) is not None
    assert store.stamps(first.tree) == before
    assert os.lstat(f"{store.place(first.tree)}/a").st_nlink == 2


def test_a_tree_that_shares_a_large_file_stays_whole_without_reading_it(store: DiskStore) -> None:
    first = kept(store, {"a": LARGE})
    second = kept(store, {"b": LARGE})
    inodes = {
        os.lstat(f"{store.path(t)}/{p}").st_ino for t, p in ((first.tree, "a"), (second.tree, "b"))
    }
    blob = next(Path(store.root, "cas").glob("*/*[!p]"))
    damage = bytearray(LARGE)
    damage[0] ^= 1

    assert len(inodes) == 1
    assert store.place(first.tree) is not None
    assert store.place(second.tree) is not None
    blob.chmod(0o600)
    blob.write_bytes(damage)  # positive control: now it is read, and found wrong
    assert store.place(first.tree) is None
    assert store.place(second.tree) is None


def test_a_tree_output_keeps_links_and_empty_folders(store: DiskStore) -> None:
    out = made(store, {"t/a/x": b"x"})
    os.mkdir(f"{out}/t/empty")
    os.symlink("a/x", f"{out}/t/link")
    os.symlink("../a", f"{out}/t/empty/up")
    os.mkdir(f"{out}/t/really-empty")

    ingested = store.ingest(out, [Output("t", "tree")])

    listing = store.tree(ingested.tree)
    assert listing is not None
    assert [(entry.path, entry.kind.name, entry.target) for entry in listing.entries] == [
        ("t/a/x", "FILE", ""),
        ("t/empty/up", "SYMLINK", "../a"),
        ("t/link", "SYMLINK", "a/x"),
        ("t/really-empty", "EMPTY", ""),
    ]
    below = tree_of(Entry(e.path[2:], e.kind, e.digest, e.target) for e in listing.entries)
    assert ingested.contents == (("t", Content("t", digest_tree(below))),)


def test_an_empty_tree_output_and_no_outputs_at_all_are_fine(store: DiskStore) -> None:
    out = made(store, {})
    os.mkdir(f"{out}/t")

    empty = store.ingest(out, [Output("t", "tree")])
    none = [store.ingest(made(store, {}), []) for _ in range(2)]

    assert empty.contents == (("t", Content("t", digest_tree(Tree(())))),)
    assert none[0] == none[1]
    assert store.place(none[0].tree) is not None


def test_undeclared_files_are_listed_and_removed(store: DiskStore) -> None:
    out = made(store, {"a": b"a", "b": b"b", "junk/deep/c": b"c"})
    os.mkfifo(f"{out}/pipe")
    os.chmod(f"{out}/junk", 0)

    ingested = store.ingest(out, [Output("a")])

    assert ingested.undeclared == ("b", "junk/deep/c", "pipe")
    assert os.listdir(store.path(ingested.tree)) == ["a"]


def test_a_missing_output_is_named_with_what_was_written_instead(store: DiskStore) -> None:
    out = made(store, {"models/model.npz": b"m"})

    with pytest.raises(ActionError, match=r"did not make its output `model\.npz`") as caught:
        store.ingest(out, [Output("model.npz")])

    assert caught.value.hints == ("did you mean `models/model.npz`?",)


def strange(out: str, what: str) -> None:
    """Make something at `out`/a that cannot be an output."""
    if what == "fifo":
        os.mkfifo(f"{out}/a")
    elif what == "socket":
        os.mknod(f"{out}/a", stat.S_IFSOCK | 0o600)
    elif what == "folder":
        os.mkdir(f"{out}/a")
    elif what == "symlink":
        Path(out, "b").write_bytes(b"b")
        os.symlink("b", f"{out}/a")
    elif what == "host file":
        os.symlink("/etc/passwd", f"{out}/a")
    elif what == "hard link":
        Path(out, "..", "outside").write_bytes(b"mine")
        os.chmod(f"{out}/../outside", 0o640)
        os.link(f"{out}/../outside", f"{out}/a")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("fifo", "named pipe"),
        ("socket", "socket"),
        ("folder", "made a folder"),
        ("symlink", "is a symlink"),
        ("host file", "is a symlink"),
        ("hard link", "hard link"),
    ],
)
def test_what_is_no_plain_file_is_refused_by_name(
    store: DiskStore, what: str, sentence: str
) -> None:
    out = made(store, {})
    strange(out, what)

    with pytest.raises(ActionError, match=f"`a`.*{sentence}"):
        store.ingest(out, [Output("a")])


def test_a_file_outside_that_an_output_is_linked_to_is_left_alone(store: DiskStore) -> None:
    out = made(store, {})
    strange(out, "hard link")

    with pytest.raises(ActionError):
        store.ingest(out, [Output("a")])

    assert stat.S_IMODE(os.stat(f"{out}/../outside").st_mode) == 0o640


def test_hard_links_among_outputs_are_fine(store: DiskStore) -> None:
    for content in (b"small", LARGE):
        out = made(store, {"a": content})
        os.link(f"{out}/a", f"{out}/b")
        os.link(f"{out}/a", f"{out}/undeclared")

        ingested = store.ingest(out, [Output("a"), Output("b")])

        assert store.place(ingested.tree) is not None
        assert {content.digest for _, content in ingested.contents} == {digest_of(content)}


@pytest.mark.parametrize(
    "links",
    [
        {"l": "/etc/passwd"},
        {"l": "../beside"},
        {"l": "d/../../beside"},
        {"d/up": "..", "l": "d/up/../../x"},
        {"d/e/root": "../..", "l": "d/e/root/.."},  # by its text it stays
    ],
)
def test_a_symlink_out_of_its_tree_is_refused(store: DiskStore, links: dict[str, str]) -> None:
    out = made(store, {"beside": b"b", "t/d/e/f": b"f"})
    for path, target in links.items():
        os.symlink(target, f"{out}/t/{path}")

    with pytest.raises(ActionError, match=r"out of its tree"):
        store.ingest(out, [Output("t", "tree"), Output("beside")])


def test_folders_too_deep_are_refused_and_removed(store: DiskStore) -> None:
    out = made(store, {})
    deep(f"{out}/t", 3000)

    with pytest.raises(ActionError, match="256 folders"):
        store.ingest(out, [Output("t", "tree")])
    store.drop(out)

    assert not os.path.exists(out)


def deep(top: str, depth: int) -> None:
    """Make `depth` folders within each other: more than a path can name."""
    os.mkdir(top)
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def test_a_dropped_scratch_serves_again_and_is_empty(store: DiskStore) -> None:
    scratch = store.scratch()
    Path(scratch, "a").mkdir()
    Path(scratch, "a", "b").write_bytes(b"b")
    os.chmod(f"{scratch}/a", 0o500)

    store.drop(scratch)

    again = store.scratch()
    assert os.listdir(again) == []
    assert stat.S_IMODE(os.stat(again).st_mode) == 0o700


# -- trees from blobs


def test_a_merged_tree_is_made_from_blobs(store: DiskStore) -> None:
    first, second = kept(store, {"a": b"1", "large": LARGE}), kept(store, {"b": b"2"})
    entries = [
        Entry(f"{name}/{entry.path}", entry.kind, entry.digest)
        for name, tree in (("one", first.tree), ("two", second.tree))
        for entry in (store.tree(tree) or Tree(())).entries
    ]
    merged = tree_of([*entries, Entry("empty", Kind.EMPTY)])

    digest = store.materialise(merged)

    assert digest == digest_tree(merged)
    place = store.place(digest)
    assert place is not None
    assert Path(place, "one/a").read_bytes() == b"1"
    assert Path(place, "two/b").read_bytes() == b"2"
    assert os.lstat(f"{place}/one/large").st_nlink == 3
    assert os.listdir(f"{place}/empty") == []


@pytest.mark.parametrize("content", [b"small", LARGE])
def test_a_blob_can_be_an_executable_in_a_tree(store: DiskStore, content: bytes) -> None:
    digest = store.put(content)

    tree = store.materialise(tree_of([Entry("run", Kind.EXECUTABLE, digest)]))

    assert tree is not None
    assert stat.S_IMODE(os.stat(f"{store.place(tree)}/run").st_mode) == 0o555


def test_a_tree_with_a_missing_blob_is_not_made(store: DiskStore) -> None:
    tree = tree_of([Entry("a", Kind.FILE, digest_of(b"absent"))])

    assert store.materialise(tree) is None
    assert store.place(digest_tree(tree)) is None


def test_a_tree_known_by_its_encoding_alone_is_placed_from_blobs(store: DiskStore) -> None:
    tree = kept(store, {"a": b"1", "large": LARGE}).tree
    content = store.read(tree)
    assert content is not None
    store.drop(store.path(tree))
    store.drop(store.path(tree) + ".stamps")
    assert store.place(tree) is None

    store.put(content)

    place = store.place(tree)
    assert place is not None
    assert Path(place, "large").read_bytes() == LARGE


def test_stamps_name_every_file_and_folder_as_the_system_sees_them(store: DiskStore) -> None:
    tree = kept(store, {"d/a": b"1", "large": LARGE}).tree
    place = store.path(tree)

    stamps = store.stamps(tree)

    assert {path for path, *_ in stamps} == {place, f"{place}/d", f"{place}/d/a", f"{place}/large"}
    for path, *numbers in stamps:
        now = os.lstat(path)
        assert numbers == [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino]


NAMES = st.binary(min_size=1, max_size=20).map(
    lambda name: os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"~"))
)
SAFE = NAMES.filter(lambda name: name not in {".", ".."})


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tree=st.recursive(
        st.tuples(st.binary(max_size=200), st.booleans()),
        lambda inner: st.dictionaries(SAFE, inner, max_size=4),
        max_leaves=12,
    ).filter(lambda tree: isinstance(tree, dict))
)
def test_any_tree_comes_back_as_it_went_in(store: DiskStore, tree: dict[str, object]) -> None:
    out = made(store, {})
    grow(f"{out}/t", tree)
    before = seen(f"{out}/t")

    ingested = store.ingest(out, [Output("t", "tree")])
    here = store.place(ingested.tree, "t")
    assert here is not None
    assert seen(here) == before

    store.drop(store.path(ingested.tree))  # and once more from blobs
    again = store.place(ingested.tree, "t")
    assert again is not None
    assert seen(again) == before


def grow(path: str, tree: object) -> None:
    if isinstance(tree, dict):
        os.mkdir(path)
        for name, inner in tree.items():
            grow(f"{path}/{name}", inner)
    elif isinstance(tree, tuple):
        content, executable = tree
        Path(path).write_bytes(content)
        os.chmod(path, 0o755 if executable else 0o600)


def seen(folder: str) -> dict[str, tuple[bytes | None, bool]]:
    """Return all below `folder`: bytes (None for a folder) and executable bit."""
    found: dict[str, tuple[bytes | None, bool]] = {}
    for at, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(f"{at}/{name}", folder)] = None, True
        for name in files:
            path = f"{at}/{name}"
            executable = bool(os.stat(path).st_mode & 0o100)
            found[os.path.relpath(path, folder)] = Path(path).read_bytes(), executable
    return found


# -- locks


def test_a_key_is_locked_once(store: DiskStore) -> None:
    first, second = store.key_lock("k"), store.key_lock("k")
    assert first.try_acquire()
    first.announce("/log")
    seen_logs: list[str] = []

    assert not second.try_acquire()
    assert not second.acquire(0.01, seen_logs.append)
    assert set(seen_logs) == {"/log"}
    first.release()
    assert second.try_acquire()
    assert second.holder_log() == ""
    second.release()
    assert os.listdir(f"{store.root}/locks") == []


def test_waiting_ends_when_the_waiter_says_so(store: DiskStore) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with store.key_lock("k") as first:
        assert first.try_acquire()
        with pytest.raises(KeyboardInterrupt):
            store.key_lock("k").acquire(60.0, stop)


# -- checkout


def shown(store: DiskStore, root: Path, target: str, files: dict[str, bytes]) -> Digest:
    tree = kept(store, files).tree
    assert checkout(store, out_root=str(root), package_target=target, tree=tree) == str(
        root / target
    )
    return tree


def test_a_target_is_shown_as_one_link(store: DiskStore, tmp_path: Path) -> None:
    root = tmp_path / "mlbuild-out"
    tree = shown(store, root, "models/lenet", {"m": b"1"})
    assert (root / "models/lenet").readlink() == Path(store.path(tree))

    shown(store, root, "models/lenet", {"m": b"2"})

    assert (root / "models/lenet/m").read_bytes() == b"2"
    assert os.listdir(root / "models") == ["lenet"]


def test_a_target_above_other_targets_is_spread(store: DiskStore, tmp_path: Path) -> None:
    root = tmp_path / "mlbuild-out"
    shown(store, root, "models", {"a": b"1", "b/c": b"2"})

    shown(store, root, "models/lenet", {"m": b"3"})  # the link becomes a folder

    assert (root / "models/a").read_bytes() == b"1"
    assert (root / "models/b/c").read_bytes() == b"2"
    assert (root / "models/lenet/m").read_bytes() == b"3"

    shown(store, root, "models", {"a": b"4", "d": b"5"})  # an entry goes, one comes

    assert sorted(os.listdir(root / "models")) == ["a", "d", "lenet"]
    assert (root / "models/a").read_bytes() == b"4"
    assert (root / "models/lenet/m").read_bytes() == b"3"


def test_nothing_is_ever_written_through_a_link_into_the_store(
    store: DiskStore, tmp_path: Path
) -> None:
    root = tmp_path / "mlbuild-out"
    tree = shown(store, root, "models", {"a/b": b"1"})

    shown(store, root, "models/x/y", {"m": b"2"})

    assert os.listdir(store.path(tree)) == ["a"]
    assert (root / "models/a/b").read_bytes() == b"1"


def test_an_output_named_like_a_target_is_refused(store: DiskStore, tmp_path: Path) -> None:
    root = tmp_path / "mlbuild-out"
    shown(store, root, "models/lenet", {"m": b"1"})

    with pytest.raises(InputError, match="two targets"):
        shown(store, root, "models", {"lenet": b"2"})


@pytest.mark.parametrize("mine", ["models/lenet", "models", "models/lenet/file"])
def test_what_a_user_put_there_is_never_touched(
    store: DiskStore, tmp_path: Path, mine: str
) -> None:
    root = tmp_path / "mlbuild-out"
    (root / mine).parent.mkdir(parents=True)
    (root / mine).write_bytes(b"mine")

    with pytest.raises(InputError, match="not of mlbuild"):
        shown(store, root, "models/lenet", {"m": b"1"})

    assert (root / mine).read_bytes() == b"mine"


# -- cleaning


def test_cleaning_leaves_an_empty_store_that_works(store: DiskStore) -> None:
    store.publish(key_of(b"m"), result(store, {"a": LARGE}), manifest=b"m")

    freed = clean(store)

    assert freed >= len(LARGE)
    assert store.lookup(key_of(b"m")) is None
    assert store.place(kept(store, {"a": LARGE}).tree) is not None
    assert store.verify().whole
