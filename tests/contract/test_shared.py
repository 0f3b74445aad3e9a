"""What every shared cache promises, seen by machines that know nothing of each other."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from threading import Barrier

import pytest

from mlbuild.core.action import Output
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, digest_tree, encode, tree_of
from mlbuild.errors import InputError
from mlbuild.shared import entry, layout
from mlbuild.shared.base import Bucket, Shared, SharedTrouble
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.entry import decode_entry, encode_entry
from mlbuild.shared.folder import FolderBucket
from mlbuild.shared.signing import Judge, Signer, new_key
from mlbuild.store.disk import open_store
from tests.contract.places import BUCKETS, KINDS, Place, shared_place

MIB = 1 << 20
RANDOM = Random(7)  # noqa: S311 - reproducible on purpose
FOLDER = -1  # instead of the bytes of a file
_NUMBERS = count()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with shared_place(request.param, request, tmp_path) as opened:
        yield opened


@pytest.fixture(params=BUCKETS)
def bucket_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with shared_place(request.param, request, tmp_path) as opened:
        yield opened


@pytest.fixture
def share(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with shared_place("folder", request, tmp_path) as opened:
        yield opened


@dataclass(frozen=True)
class Made:
    """What an action made: a folder, its tree, and the result that names it."""

    folder: str
    tree: Tree
    result: Result
    key: str


def noise(size: int) -> bytes:
    """Return bytes that nobody can compress."""
    return RANDOM.randbytes(size)


def made(tmp_path: Path, files: dict[str, bytes], *, key: str = "", seconds: float = 1.0) -> Made:
    """Write `files` to a new folder and describe it. `x:` before a name makes an executable."""
    folder = tmp_path / f"made{next(_NUMBERS)}"
    entries = []
    for name, content in files.items():
        path = name.removeprefix("x:")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        kind = Kind.EXECUTABLE if name.startswith("x:") else Kind.FILE
        entries.append(Entry(path, kind, digest_of(content)))
    folder.mkdir(exist_ok=True)
    return described(str(folder), tree_of(entries), key=key, seconds=seconds)


def described(folder: str, tree: Tree, *, key: str = "", seconds: float = 1.0) -> Made:
    outputs = tuple((one.path, Content(one.kind.value, it)) for one, it in tree.files())
    result = Result(outputs, digest_tree(tree), seconds=seconds)
    return Made(folder, tree, result, key or digest_of(manifest_of(result)).hash)


def manifest_of(result: Result) -> bytes:
    return b"made " + str(result.tree).encode()


def share_with(machine: Shared, one: Made) -> Result:
    """Send all that an action made, as a build does."""
    machine.send_tree(one.tree, one.folder)
    return machine.publish(one.key, one.result, manifest=manifest_of(one.result))


def brought(machine: Shared, one: Made, tmp_path: Path) -> str | None:
    """Look a result up and bring its tree; return the folder, None for a miss."""
    result = machine.lookup(one.key)
    if result is None:
        return None
    folder = tmp_path / f"brought{next(_NUMBERS)}"
    folder.mkdir()
    tree = machine.bring_tree(result.tree, str(folder))
    return None if tree is None else str(folder)


def seen(folder: str | None) -> dict[str, object]:
    """Return all below `folder`: mode and bytes of files, targets of links, FOLDER for folders."""
    assert folder is not None
    found: dict[str, object] = {}
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(at, name)
            shown = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[shown] = os.readlink(path)
            elif os.path.isdir(path):
                found[shown] = FOLDER
            else:
                mode = os.stat(path).st_mode & 0o777
                found[shown] = (0o755 if mode & 0o100 else 0o644, Path(path).read_bytes())
    return found


def many(number: int, *, size: int = 1000) -> dict[str, bytes]:
    """Return many small files, too much to travel with an entry; the same ones each time."""
    same = Random(size)  # noqa: S311 - so packs end at the same places, whatever ran before
    return {f"d/{at:04}": same.randbytes(size) for at in range(number)}


def long_names() -> dict[str, bytes]:
    """Return files whose names alone are too much to travel with an entry."""
    return {f"d/{noise(120).hex()}": noise(200) for _ in range(600)}


# -- there and back


def test_a_tree_comes_back_as_it_went(place: Place, tmp_path: Path) -> None:
    one = made(
        tmp_path,
        {
            "empty": b"",
            "x:bin/run": b"#!/bin/sh\n",
            "same": b"#!/bin/sh\n",
            "text": b"many words " * 9000,
            "noise": noise(90_000),
            "deep/er/model.bin": noise(3 * MIB),
            "x:deep/same.bin": b"weights " * 400_000,
            "deep/twice.bin": b"weights " * 400_000,
            os.fsdecode(b"caf\xe9\n"): b"not UTF-8",
        },
    )
    os.mkdir(f"{one.folder}/hollow")
    os.symlink("../bin/run", f"{one.folder}/deep/link")
    os.symlink("nowhere", f"{one.folder}/dangling")
    more = (
        Entry("hollow", Kind.EMPTY),
        Entry("deep/link", Kind.SYMLINK, target="../bin/run"),
        Entry("dangling", Kind.SYMLINK, target="nowhere"),
    )
    one = described(one.folder, tree_of([*one.tree.entries, *more]))
    os.chmod(f"{one.folder}/bin/run", 0o700)
    os.chmod(f"{one.folder}/deep/same.bin", 0o700)

    assert share_with(place.machine(), one) == one.result
    there = brought(place.machine(), one, tmp_path)

    assert seen(there) == seen(one.folder)
    assert place.reports == []


@pytest.mark.parametrize("files", [{}, {"a": b""}, {"a": b"x" * 65_536}, {"a": b"x" * 65_537}])
def test_a_small_tree_comes_back(place: Place, tmp_path: Path, files: dict[str, bytes]) -> None:
    one = made(tmp_path, files)

    share_with(place.machine(), one)

    assert seen(brought(place.machine(), one, tmp_path)) == seen(one.folder)


def test_bringing_is_possible_on_the_machine_that_sent(place: Place, tmp_path: Path) -> None:
    machine = place.machine()
    one, two = made(tmp_path, {"a": b"small"}), made(tmp_path, many(100))

    share_with(machine, one)
    share_with(machine, two)

    assert seen(brought(machine, one, tmp_path)) == seen(one.folder)
    assert seen(brought(machine, two, tmp_path)) == seen(two.folder)


def test_what_came_becomes_a_tree_of_the_store(place: Place, tmp_path: Path) -> None:
    near, far = open_store(str(tmp_path / "near")), open_store(str(tmp_path / "far"))
    out = far.scratch() + "/out"
    os.makedirs(f"{out}/t/empty")
    Path(out, "t/large").write_bytes(noise(200_000))
    Path(out, "t/run").write_bytes(b"#!/bin/sh\n")
    os.chmod(f"{out}/t/run", 0o700)
    os.symlink("run", f"{out}/t/link")
    kept = far.ingest(out, [Output("t", "tree")])
    tree, result = far.tree(kept.tree), Result(kept.contents, kept.tree)
    assert tree is not None
    place.machine().send_tree(tree, far.path(kept.tree))
    scratch = near.scratch()

    machine = place.machine("second")
    share_with(place.machine("first"), Made(far.path(kept.tree), tree, result, "ab" * 32))
    machine.lookup("ab" * 32)
    assert machine.bring_tree(kept.tree, scratch) == tree
    assert near.admit(scratch, tree)

    assert near.complete(result)
    assert near.missing([digest for _, digest in tree.files()]) == set()
    there = near.place(kept.tree, "t")
    assert seen(there) == seen(far.place(kept.tree, "t"))
    assert near.verify().whole
    assert not os.path.exists(scratch)
    again = near.scratch()
    machine.bring_tree(kept.tree, again)
    assert near.admit(again, tree)
    near.close()
    far.close()


# -- few requests


def test_a_small_result_is_one_object_and_one_request(bucket_place: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {f"{number}": b"%d" % number * 500 for number in range(30)})
    sender, reader = bucket_place.machine(), bucket_place.machine()
    sender.lookup(one.key)

    share_with(sender, one)
    there = brought(reader, one, tmp_path)

    assert seen(there) == seen(one.folder)
    assert reader.manifest(one.key) == manifest_of(one.result)
    assert bucket_place.names() == [layout.place("main", "ac", one.key)]
    assert sender.traffic.requests == 2
    assert reader.traffic.requests == 2


def test_many_small_files_are_few_objects(share: Place, tmp_path: Path) -> None:
    one = made(tmp_path, many(800, size=20_000))
    reader = share.machine()

    share_with(share.machine(), one)
    there = brought(reader, one, tmp_path)

    assert seen(there) == seen(one.folder)
    assert 2 <= len(share.names("/packs/")) <= 4
    assert reader.traffic.requests <= 6
    assert reader.traffic.down < 1.05 * 800 * 20_000


def test_of_a_hit_nothing_is_fetched_but_its_entry(bucket_place: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {"large": noise(2 * MIB)})
    share_with(bucket_place.machine(), one)
    reader = bucket_place.machine()

    assert reader.lookup(one.key) == one.result

    assert reader.traffic.requests == 1
    assert reader.traffic.down < 2000


def test_nothing_is_sent_twice(bucket_place: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {**many(100), "large": noise(2 * MIB)})
    share_with(bucket_place.machine("same"), one)
    later = bucket_place.machine("same")
    other = replace(one, key="cd" * 32)

    later.send_tree(one.tree, one.folder)
    assert later.traffic.up < 20_000  # a listing at most
    share_with(later, one)
    share_with(later, other)

    assert later.traffic.up < 40_000
    assert seen(brought(bucket_place.machine(), other, tmp_path)) == seen(one.folder)


def test_compressible_bytes_travel_compressed_and_others_as_they_are(
    share: Place, tmp_path: Path
) -> None:
    words, dense = b"the same words " * 200_000, noise(2 * MIB)
    sender = share.machine()

    share_with(sender, made(tmp_path, {"words": words}))
    compressed = sender.traffic.up
    share_with(sender, made(tmp_path, {"dense": dense}))

    assert compressed < len(words) / 50
    assert {name.endswith(".zst") for name in share.names("/chunks/")} == {True, False}
    assert sender.traffic.up - compressed < len(dense) + 4000


def test_one_changed_file_of_many_changes_one_pack(share: Place, tmp_path: Path) -> None:
    files = many(600, size=50_000)
    sender = share.machine()
    share_with(sender, made(tmp_path, files))
    before, up = share.names("/packs/"), sender.traffic.up

    share_with(sender, made(tmp_path, {**files, "d/0300": b"changed"}))

    assert len(set(share.names("/packs/")) - set(before)) == 1
    assert len(before) > 2
    assert sender.traffic.up - up < 14 * MIB


def test_one_changed_part_of_a_large_file_changes_few_chunks(share: Place, tmp_path: Path) -> None:
    content = noise(40 * MIB)
    sender = share.machine()
    share_with(sender, made(tmp_path, {"model": content}))
    up = sender.traffic.up
    inserted = content[: 20 * MIB] + noise(1000) + content[20 * MIB :]

    share_with(sender, made(tmp_path, {"model": inserted}))

    assert up >= 40 * MIB
    assert sender.traffic.up - up < 16 * MIB
    reader = share.machine()
    assert seen(brought(reader, made(tmp_path, {"model": inserted}), tmp_path)) == {
        "model": (0o644, inserted)
    }


# -- gone and wrong


@pytest.mark.parametrize("kind", ["packs", "chunks", "trees"])
def test_what_vanished_is_a_miss_and_is_healed(
    bucket_place: Place, tmp_path: Path, kind: str
) -> None:
    files = long_names() if kind == "trees" else {**many(100), "large": noise(2 * MIB)}
    one = made(tmp_path, files)
    share_with(bucket_place.machine("sender"), one)
    victims = bucket_place.names(f"/{kind}/")
    bucket_place.bucket.remove(victims[:1])
    reader = bucket_place.machine("reader")

    assert len(victims) >= 1
    assert brought(reader, one, tmp_path) is None
    assert reader.lookup(one.key) is None  # now it is made anew
    rerun = replace(one, result=replace(one.result, seconds=9.0))
    assert share_with(reader, rerun) == rerun.result

    third = bucket_place.machine()
    assert third.lookup(one.key) == rerun.result
    assert seen(brought(third, one, tmp_path)) == seen(one.folder)


@pytest.mark.parametrize("kind", ["ac", "packs", "chunks", "trees"])
@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "longer"])
def test_wrong_bytes_are_a_miss_reported_and_healed(
    share: Place, tmp_path: Path, kind: str, damage: str
) -> None:
    files = long_names() if kind == "trees" else {**many(100), "large": noise(2 * MIB)}
    one = made(tmp_path, files)
    share_with(share.machine("sender"), one)
    victim = share.names(f"/{kind}/")[-1]
    spoil(share.bucket, victim, damage)
    reader = share.machine("reader")

    assert brought(reader, one, tmp_path) is None
    assert [name for name, _, _ in share.reports if name != victim] == []
    assert len(share.reports) >= 1
    share_with(reader, one)

    assert seen(brought(share.machine(), one, tmp_path)) == seen(one.folder)


def spoil(bucket: Bucket, name: str, damage: str) -> None:
    """Overwrite an object with bytes that are almost right."""
    content = bytearray(bucket.read(name) or b"")
    if damage == "bit":
        content[len(content) // 2] ^= 1
    elif damage == "cut":
        del content[-1:]
    elif damage == "empty":
        content.clear()
    else:
        content += b"\0"
    bucket.write(name, bytes(content))


def test_the_mark_of_a_broken_tree_outlives_the_process(share: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {"large": noise(2 * MIB)})
    share_with(share.machine("sender"), one)
    share.bucket.remove(share.names("/chunks/"))
    assert brought(share.machine("reader"), one, tmp_path) is None

    share_with(share.machine("reader"), one)  # such as an upload that had to wait

    assert seen(brought(share.machine(), one, tmp_path)) == seen(one.folder)


def test_a_blob_that_is_wrong_is_absent_reported_and_healed(
    bucket_place: Place, tmp_path: Path
) -> None:
    sender, log = bucket_place.machine(), noise(500)
    digest = sender.put(log)
    bucket_place.bucket.write(layout.place("main", "blobs", digest.hash), b"r" + noise(500))
    reader = bucket_place.machine()

    assert reader.read(digest) is None
    assert not reader.fetch(digest, str(tmp_path / "log"))
    assert [name for name, _, _ in bucket_place.reports] == bucket_place.names("/blobs/") * 2
    assert not (tmp_path / "log").exists()
    reader.put(log)
    assert bucket_place.machine().read(digest) == log


def test_a_file_that_changed_is_never_promised(place: Place, tmp_path: Path) -> None:
    for files in ({"a": b"small"}, many(100), {"large": noise(2 * MIB)}):
        one = made(tmp_path, files)
        first = Path(one.folder, one.tree.entries[0].path)
        first.write_bytes(first.read_bytes()[:-1] + b"?")

        with pytest.raises(InputError, match="changed"):
            place.machine().send_tree(one.tree, one.folder)


def test_a_tree_that_nobody_sent_is_no_news(share: Place, tmp_path: Path) -> None:
    one, other = made(tmp_path, many(100)), made(tmp_path, {"b": b"2"})
    machine = share.machine("same")
    share_with(machine, one)
    (tmp_path / "into").mkdir()

    assert machine.bring_tree(digest_tree(other.tree), str(tmp_path / "into")) is None

    up = machine.traffic.up
    share_with(machine, replace(one, key="ef" * 32))
    assert machine.traffic.up - up < 20_000  # nothing was forgotten


def test_trouble_on_the_way_is_trouble_and_leaves_no_mark(share: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {f"{number}": noise(3 * MIB) for number in range(8)})
    share_with(share.machine("sender"), one)
    shaky = Shaky(share.bucket, good=3)
    reader = BucketCache(shaky, memo=str(tmp_path / "memo"))
    assert reader.lookup(one.key) is not None

    with pytest.raises(SharedTrouble, match="went away"):
        brought(reader, one, tmp_path)
    shaky.good = 1000

    assert seen(brought(reader, one, tmp_path)) == seen(one.folder)
    reader.close()


class Shaky:
    """A bucket whose connection breaks after so many reads."""

    def __init__(self, bucket: Bucket, *, good: int) -> None:
        self.good = good
        self.write, self.names, self.remove = bucket.write, bucket.names, bucket.remove
        self.close = bucket.close
        self._bucket = bucket

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        self.good -= 1
        if self.good < 0:
            raise SharedTrouble("unreachable", "the server went away")
        return self._bucket.read(name, start=start, size=size, limit=limit)


# -- who may write what


def test_the_first_of_two_results_wins(bucket_place: Place, tmp_path: Path) -> None:
    key = "ab" * 32
    ones = [made(tmp_path, {"a": b"%d" % at}, key=key, seconds=at) for at in range(4)]
    machines = [bucket_place.machine() for _ in ones]
    start = Barrier(len(ones))

    def publish(at: int) -> Result:
        machines[at].lookup(key)
        machines[at].send_tree(ones[at].tree, ones[at].folder)
        start.wait()
        return machines[at].publish(key, ones[at].result, manifest=b"m")

    with ThreadPoolExecutor(len(ones)) as pool:
        kept = list(pool.map(publish, range(len(ones))))

    winner = bucket_place.machine().lookup(key)
    assert winner is not None
    assert winner in [one.result for one in ones]
    assert kept == [winner] * len(ones)
    assert all(seen(brought(m, ones[0], tmp_path)) for m in machines)


def test_a_server_without_conditional_writes_serves_all_who_publish(
    share: Place, tmp_path: Path
) -> None:
    key = "ab" * 32
    ones = [made(tmp_path, {"a": noise(2 * MIB)}, key=key, seconds=at) for at in range(2)]
    machines = [BucketCache(Overwriting(share.bucket)) for _ in ones]
    for machine in machines:
        assert machine.lookup(key) is None

    for machine, one in zip(machines, ones, strict=True):
        share_with(machine, one)

    assert share.machine().lookup(key) == ones[1].result
    assert seen(brought(share.machine(), ones[1], tmp_path)) == seen(ones[1].folder)
    assert seen(brought(machines[0], ones[1], tmp_path)) == seen(ones[1].folder)
    for machine in machines:
        machine.close()


class Overwriting:
    """A bucket that has never heard of conditional writes."""

    def __init__(self, bucket: Bucket) -> None:
        self.read, self.names, self.remove = bucket.read, bucket.names, bucket.remove
        self.close = bucket.close
        self._bucket = bucket

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        del fresh
        return self._bucket.write(name, content)


def test_a_pull_request_reads_main_and_main_never_reads_it(place: Place, tmp_path: Path) -> None:
    ours, theirs = made(tmp_path, {"a": b"ours"}), made(tmp_path, {"b": b"theirs"})
    share_with(place.machine(), ours)

    request = place.machine(scope="pr/7")
    share_with(request, theirs)

    assert seen(brought(place.machine(scope="pr/7"), ours, tmp_path)) == seen(ours.folder)
    assert seen(brought(place.machine(scope="pr/7"), theirs, tmp_path)) == seen(theirs.folder)
    assert place.machine().lookup(theirs.key) is None
    assert place.machine(scope="pr/8").lookup(theirs.key) is None


def test_a_pull_request_writes_only_to_its_own_scope(bucket_place: Place, tmp_path: Path) -> None:
    files = many(400, size=30_000)
    share_with(bucket_place.machine(), made(tmp_path, files))
    before = bucket_place.names()
    reader = bucket_place.machine("job", scope="pr/7")
    assert brought(reader, made(tmp_path, files), tmp_path)

    changed = made(tmp_path, {**files, "d/0001": b"changed"})
    share_with(reader, changed)
    share_with(reader, made(tmp_path, files))

    added = set(bucket_place.names()) - set(before)
    assert {name[:5] for name in added} == {"pr/7/"}
    assert len([name for name in added if "/packs/" in name]) == 1  # the others are those of main
    assert [name for name in added if "/ac/" in name] == [layout.place("pr/7", "ac", changed.key)]
    there = brought(bucket_place.machine(scope="pr/7"), changed, tmp_path)
    assert seen(there) == seen(changed.folder)
    assert bucket_place.machine().lookup(changed.key) is None


def test_an_entry_of_main_cannot_lead_to_the_objects_of_a_pull_request(
    share: Place, tmp_path: Path
) -> None:
    one = made(tmp_path, {"a": noise(2 * MIB)})
    share_with(share.machine(scope="pr/7"), one)
    moved = share.bucket.read(layout.place("pr/7", "ac", one.key)) or b""
    share.bucket.write(layout.place("main", "ac", one.key), moved)

    assert brought(share.machine(), one, tmp_path) is None


@pytest.mark.parametrize("scope", ["", "/", "..", "a/../b", "main/ac", "pr/", "über", "a b", ".x"])
def test_a_scope_that_could_be_mistaken_is_refused(share: Place, scope: str) -> None:
    with pytest.raises(SharedTrouble, match="scope"):
        share.machine(scope=scope)


# -- whose results count


def test_only_signed_results_count_where_keys_are_trusted(place: Place, tmp_path: Path) -> None:
    ci, stranger = Signer(new_key("ci")), Signer(new_key("stranger"))
    judge = Judge.of([str(ci.public)])
    by_ci, by_stranger = made(tmp_path, {"a": b"ci"}), made(tmp_path, {"b": b"stranger"})
    by_nobody = made(tmp_path, {"c": b"nobody"})
    share_with(place.machine(signer=ci), by_ci)
    share_with(place.machine(signer=stranger), by_stranger)
    share_with(place.machine(), by_nobody)

    careful = place.machine(judge=judge)

    assert careful.lookup(by_ci.key) == by_ci.result
    assert careful.lookup(by_stranger.key) is None
    assert careful.lookup(by_nobody.key) is None
    assert place.machine().lookup(by_nobody.key) == by_nobody.result


def test_a_result_that_does_not_count_gives_way(place: Place, tmp_path: Path) -> None:
    ci = Signer(new_key("ci"))
    judge = Judge.of([str(ci.public)])
    one = made(tmp_path, {"a": b"1"})
    share_with(place.machine(), one)
    machine = place.machine(signer=ci, judge=judge)
    assert machine.lookup(one.key) is None

    rerun = replace(one, result=replace(one.result, seconds=5.0))
    assert share_with(machine, rerun) == rerun.result

    assert place.machine(judge=judge).lookup(one.key) == rerun.result


def test_a_signature_is_of_one_key_and_one_result(share: Place, tmp_path: Path) -> None:
    ci = Signer(new_key("ci"))
    judge = Judge.of([str(ci.public)])
    one, two = made(tmp_path, {"a": b"1"}), made(tmp_path, {"a": b"2"})
    share_with(share.machine(signer=ci), one)
    share_with(share.machine(signer=ci), two)
    content = share.bucket.read(layout.place("main", "ac", one.key)) or b""
    honest = decode_entry(content, one.key)

    planted = encode_entry(replace(honest, result=replace(honest.result, seconds=77.0)))
    share.bucket.write(layout.place("main", "ac", one.key), planted)
    share.bucket.write(layout.place("main", "ac", two.key), content)

    careful = share.machine(judge=judge)
    assert careful.lookup(one.key) is None
    assert careful.lookup(two.key) is None


def test_what_is_not_hermetic_is_never_shared(place: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {"a": b"1"})
    machine = place.machine()
    machine.send_tree(one.tree, one.folder)

    for result in (replace(one.result, hermetic=False), replace(one.result, share=False)):
        with suppress(SharedTrouble):
            machine.publish(one.key, result, manifest=b"m")

    assert place.machine().lookup(one.key) is None


def test_a_planted_result_that_is_not_hermetic_is_a_miss(share: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {"a": b"1"})
    for result in (replace(one.result, hermetic=False), replace(one.result, share=False)):
        name = layout.place("main", "ac", one.key)
        share.bucket.write(name, encode_entry(entry.Entry(result)))

        assert share.machine().lookup(one.key) is None


def test_outputs_that_are_not_those_of_the_tree_are_a_miss(share: Place, tmp_path: Path) -> None:
    one = made(tmp_path, {"a": b"1"})
    lies = [
        (("a", Content("f", digest_of(b"2"))),),
        (("a", Content("x", digest_of(b"1"))),),
        (("b", Content("f", digest_of(b"1"))),),
        (("a", Content("t", digest_of(encode(Tree(()))))),),
    ]
    for number, outputs in enumerate(lies):
        lie = replace(one, result=replace(one.result, outputs=outputs), key=f"{number:064}")
        share_with(share.machine(), lie)

        assert brought(share.machine(), lie, tmp_path) is None

    assert len(share.reports) == len(lies)
    reader = share.machine()
    share_with(reader, one)
    reader.lookup(f"{0:064}")
    assert brought(reader, one, tmp_path) is None  # whose word counts cannot be told


def test_a_folder_that_is_not_there_is_trouble_with_a_cure(tmp_path: Path) -> None:
    machine = BucketCache(FolderBucket(str(tmp_path / "absent")))

    with pytest.raises(SharedTrouble) as caught:
        machine.lookup("ab" * 32)

    assert caught.value.kind == "unreachable"
    assert "mount" in caught.value.cure
    assert not (tmp_path / "absent").exists()
    machine.close()
