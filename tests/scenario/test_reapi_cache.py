"""A shared cache in servers of the Remote Execution API: buildbox-casd and BuildGrid."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlbuild.core.digest import digest_of
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, digest_tree, encode, tree_of
from mlbuild.errors import InputError
from mlbuild.shared.base import Shared, SharedTrouble
from mlbuild.shared.reapi import open_reapi
from mlbuild.shared.reapi_access import Access, parsed
from mlbuild.shared.signing import Judge, Signer
from tests import reapi_servers
from tests.reapi_servers import CacheServer

MANIFEST = b"facts"
KEY = key_of(MANIFEST)
LARGE = os.urandom(5 << 20)  # travels as a stream
SOON = 30  # seconds
SECRET = "not for everybody"  # noqa: S105 - nobody's password


@pytest.fixture(params=["buildgrid", "casd"])
def server(request: pytest.FixtureRequest) -> CacheServer:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, CacheServer)
    return found


Opener = Callable[..., Shared]


@pytest.fixture
def opened(server: CacheServer) -> Iterator[Opener]:
    """Return what opens caches of one scope that nobody else uses."""
    caches: list[Shared] = []
    own = server.scope()

    def open_one(*, scope: str = "", url: str = "", **others: object) -> Shared:
        cache = open_reapi(url or server.url, scope=scope or own, **others)  # type: ignore[arg-type]
        caches.append(cache)
        return cache

    yield open_one
    for cache in caches:
        cache.close()


def laid(folder: Path, files: dict[str, bytes]) -> Tree:
    """Write `files` into a new folder; return their tree. Those named `run…` are executable."""
    entries = []
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        kind = Kind.EXECUTABLE if path.rpartition("/")[2].startswith("run") else Kind.FILE
        entries.append(Entry(path, kind, digest_of(content)))
    return tree_of(entries)


def result_of(tree: Tree, *, seconds: float = 1.0) -> Result:
    outputs = tuple(
        (entry.path, Content(entry.kind.value, digest)) for entry, digest in tree.files()
    )
    return Result(outputs[:3], digest_tree(tree), seconds=seconds)


def sent(cache: Shared, folder: Path, files: dict[str, bytes], *, key: str = KEY) -> Result:
    """Send a tree and the result that made it, as after a build."""
    tree = laid(folder, files)
    cache.send_tree(tree, str(folder))
    return cache.publish(key, result_of(tree), manifest=MANIFEST if key == KEY else b"")


def brought(cache: Shared, result: Result, folder: Path) -> dict[str, bytes] | None:
    """Bring the tree of a result into a new folder; return its files."""
    folder.mkdir()
    tree = cache.bring_tree(result.tree, str(folder))
    if tree is None:
        return None
    return {entry.path: (folder / entry.path).read_bytes() for entry, _ in tree.files()}


SMALL = {"model/notes.txt": b"notes", "metrics.json": b"{}", "empty": b""}
MIXED = {
    "large": LARGE,
    "again/large": LARGE,
    "empty": b"",
    "run.sh": b"#!/bin/sh\n",
    "text": b"some words " * 20_000,
    "odd \udcff name": b"odd",
}
MANY = {f"part/{number:03}": b"%d" % number * 400 for number in range(400)}


@pytest.mark.parametrize("files", [SMALL, MIXED, MANY, {}], ids=["small", "mixed", "many", "none"])
def test_what_one_machine_sent_another_one_gets(
    opened: Opener, tmp_path: Path, files: dict[str, bytes]
) -> None:
    result = sent(opened(), tmp_path / "here", files)

    there = opened()

    assert there.lookup(KEY) == result
    assert there.manifest(KEY) == MANIFEST
    assert brought(there, result, tmp_path / "there") == files


def test_links_modes_and_empty_folders_arrive(opened: Opener, tmp_path: Path) -> None:
    tree = laid(tmp_path / "here", {"a/run": LARGE, "b/run": b"small", "c": b"plain"})
    extra = [Entry("a/link", Kind.SYMLINK, target="../c"), Entry("void/x", Kind.EMPTY)]
    tree = tree_of([*tree.entries, *extra])
    opened().send_tree(tree, str(tmp_path / "here"))
    (tmp_path / "there").mkdir()

    arrived = opened().bring_tree(digest_tree(tree), str(tmp_path / "there"))

    assert arrived == tree
    assert (tmp_path / "there/a/link").readlink() == Path("../c")
    assert (tmp_path / "there/void/x").is_dir()
    modes = [(tmp_path / "there" / name).stat().st_mode & 0o777 for name in ("a/run", "b/run", "c")]
    assert modes == [0o755, 0o755, 0o644]


def test_a_small_tree_travels_with_its_entry(opened: Opener, tmp_path: Path) -> None:
    result = sent(opened(), tmp_path / "here", SMALL)
    there = opened()
    assert there.lookup(KEY) == result
    requests = there.traffic.requests

    files = brought(there, result, tmp_path / "there")

    assert files == SMALL
    assert there.traffic.requests == requests


def test_a_lookup_moves_no_large_bytes(opened: Opener, tmp_path: Path) -> None:
    sent(opened(), tmp_path / "here", MIXED)
    there = opened()

    there.lookup(KEY)

    assert there.traffic.down < 100_000


def test_what_the_server_has_is_not_sent_again(opened: Opener, tmp_path: Path) -> None:
    sent(opened(), tmp_path / "here", MIXED)
    again = opened()

    again.send_tree(laid(tmp_path / "again", MIXED), str(tmp_path / "again"))

    assert again.traffic.up < 10_000


def test_a_file_that_changed_since_it_was_hashed_is_not_sent(
    opened: Opener, tmp_path: Path
) -> None:
    tree = laid(tmp_path, MIXED)
    (tmp_path / "large").write_bytes(LARGE[::-1])

    with pytest.raises(InputError, match="changed"):
        opened().send_tree(tree, str(tmp_path))


def test_the_first_of_two_results_is_kept(opened: Opener, tmp_path: Path) -> None:
    first = sent(opened(), tmp_path / "1", MIXED)

    second = sent(opened(), tmp_path / "2", {**MIXED, "more": b"more"})

    assert second == first == opened().lookup(KEY)


def sha256(content: bytes) -> str:
    import hashlib  # noqa: PLC0415 - the name of a function here, too

    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("files", [MIXED, {**MANY, "large": LARGE}], ids=["mixed", "many"])
def test_an_entry_whose_bytes_are_gone_is_a_miss_and_gives_way(
    server: CacheServer, opened: Opener, tmp_path: Path, files: dict[str, bytes]
) -> None:
    content = os.urandom(1 << 20)
    first = sent(opened(), tmp_path / "1", {**files, "doomed": content})
    server.drop_blob(sha256(content))
    there = opened()

    found = there.lookup(KEY)
    lost = None if found is None else brought(there, found, tmp_path / "lost")
    second = sent(there, tmp_path / "2", {**files, "doomed": LARGE})

    assert lost is None
    assert second != first
    assert opened().lookup(KEY) == second
    assert brought(opened(), second, tmp_path / "3") == {**files, "doomed": LARGE}


def test_bytes_that_went_between_the_lookup_and_the_fetch_are_a_miss(
    server: CacheServer, opened: Opener, tmp_path: Path
) -> None:
    content = os.urandom(1 << 20)
    files = {"doomed": content, "other": b"other" * 30_000}
    result = sent(opened(), tmp_path / "1", files)
    there = opened()
    assert there.lookup(KEY) == result
    server.drop_blob(sha256(content))

    lost = brought(there, result, tmp_path / "lost")
    found = there.lookup(KEY)
    again = sent(there, tmp_path / "2", files)

    assert (lost, found) == (None, None)
    assert again == result
    assert brought(opened(), result, tmp_path / "3") == files


def test_a_pull_request_reads_main_and_main_never_reads_it(
    server: CacheServer, opened: Opener, tmp_path: Path
) -> None:
    main, pull = server.scope(), server.scope()
    ours = sent(opened(scope=main), tmp_path / "main", MIXED)
    theirs = sent(
        opened(scope=pull, read_scopes=(pull, main)), tmp_path / "pull", SMALL, key="1" * 64
    )

    reader = opened(scope=pull, read_scopes=(pull, main))

    assert reader.lookup(KEY) == ours
    assert brought(reader, ours, tmp_path / "out") == MIXED
    assert reader.lookup("1" * 64) == theirs
    assert opened(scope=main, read_scopes=(main,)).lookup("1" * 64) is None


def test_only_results_that_somebody_trusted_has_signed_count(
    opened: Opener, tmp_path: Path
) -> None:
    signer, stranger = _signer(tmp_path / "ours"), _signer(tmp_path / "theirs")
    judge = Judge({signer.key_id: signer.public})
    sent(opened(signer=stranger), tmp_path / "1", MIXED)
    assert opened(judge=judge).lookup(KEY) is None

    ours = sent(opened(signer=signer, judge=judge), tmp_path / "2", SMALL)

    assert opened(judge=judge).lookup(KEY) == ours


def _signer(folder: Path) -> Signer:
    from mlbuild.shared.keys import PrivateKey  # noqa: PLC0415 - needs the extra for signing

    return Signer(PrivateKey(seed=digest_of(str(folder).encode()).hash.encode()[:32], name="k"))


def test_a_log_and_a_large_manifest_arrive_too(opened: Opener, tmp_path: Path) -> None:
    manifest = os.urandom(100_000)
    log = b"line\n" * 50_000
    here = opened()
    tree = laid(tmp_path, SMALL)
    here.send_tree(tree, str(tmp_path))
    result = Result((), digest_tree(tree), log=here.put(log))
    here.publish(key_of(manifest), result, manifest=manifest)

    there = opened()

    assert there.lookup(key_of(manifest)) == result
    assert there.manifest(key_of(manifest)) == manifest
    assert result.log is not None
    assert there.read(result.log) == log


def test_an_entry_too_large_for_one_message_travels_all_the_same(
    opened: Opener, tmp_path: Path
) -> None:
    tree = laid(tmp_path, SMALL)
    result = Result((), digest_tree(tree), metrics={"curve": [0.123456789] * 250_000})

    opened().publish(KEY, result, manifest=MANIFEST)

    assert opened().lookup(KEY) == result


def test_another_instance_of_the_server_is_another_cache(
    buildgrid: CacheServer, tmp_path: Path
) -> None:
    scope = buildgrid.scope()
    here = open_reapi(f"{buildgrid.url}/{buildgrid.instance}", scope=scope)
    nowhere = open_reapi(f"{buildgrid.url}/nowhere", scope=scope)

    result = sent(here, tmp_path / "1", MIXED)

    assert brought(here, result, tmp_path / "2") == MIXED
    with pytest.raises(SharedTrouble) as caught:
        nowhere.lookup(KEY)
    assert caught.value.kind == "refused"
    assert "instance" in caught.value.cure


# -- servers that go away


@contextmanager
def killed_when(server: CacheServer, cache: Shared, moved: Callable[[], int]) -> Iterator[None]:
    """Kill the server as soon as some bytes have moved."""

    def watch() -> None:
        deadline = time.monotonic() + SOON
        while moved() < 1 << 20 and time.monotonic() < deadline:
            time.sleep(0.001)
        reapi_servers.kill(server)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()
        cache.close()


def test_a_server_killed_in_an_upload_is_trouble_and_no_hang(tmp_path: Path) -> None:
    with reapi_servers.running_casd() as server:
        cache = open_reapi(server.url, patience=SOON)
        tree = laid(tmp_path, {"a": os.urandom(48 << 20)})

        with (
            pytest.raises(SharedTrouble) as caught,
            killed_when(server, cache, lambda: cache.traffic.up),
        ):
            cache.send_tree(tree, str(tmp_path))

    assert caught.value.kind == "unreachable"


def test_a_server_killed_in_a_download_is_trouble_and_no_hang(tmp_path: Path) -> None:
    with reapi_servers.running_casd() as server:
        cache = open_reapi(server.url, patience=SOON)
        tree = laid(tmp_path / "here", {"a": os.urandom(48 << 20)})
        cache.send_tree(tree, str(tmp_path / "here"))
        (tmp_path / "there").mkdir()

        with (
            pytest.raises(SharedTrouble) as caught,
            killed_when(server, cache, lambda: cache.traffic.down),
        ):
            cache.bring_tree(digest_tree(tree), str(tmp_path / "there"))

    assert caught.value.kind == "unreachable"


def test_a_server_that_is_not_there_is_trouble_with_a_cure() -> None:
    cache = open_reapi("grpc://127.0.0.1:9", patience=SOON)

    with pytest.raises(SharedTrouble) as caught:
        cache.lookup(KEY)

    cache.close()
    assert caught.value.kind == "unreachable"
    assert "`127.0.0.1:9`" in caught.value.message
    assert "cache.url" in caught.value.cure


# -- the door


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("grpc://host", "no address"),
        ("grpc://:80/x", "no address"),
        ("s3://bucket", "no address"),
        ("grpc://host:port", "no valid port"),
        ("grpcs://user:secret@host/x", "no names or passwords"),
        ("grpcs://host/x?y=z", "more than"),
    ],
)
def test_what_is_no_address_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_reapi(url)


def test_an_address_has_a_host_a_port_and_an_instance() -> None:
    secure, plain = parsed("grpcs://cache.example.com/team/x"), parsed("grpc://[::1]:9092")

    assert (secure.target, secure.instance) == ("cache.example.com:443", "team/x")
    assert (plain.target, plain.instance) == ("[::1]:9092", "")


def test_a_token_never_travels_in_the_clear() -> None:
    with pytest.raises(InputError, match="in the clear"):
        open_reapi("grpc://cache.example.com:9092", access=Access(token=SECRET))


def test_without_the_extra_one_is_told_what_to_install() -> None:
    program = (
        "import sys; sys.modules['grpc'] = None\n"
        "from mlbuild.errors import HostError\n"
        "from mlbuild.shared.reapi import open_reapi\n"
        "try: open_reapi('grpc://localhost:1')\n"
        "except HostError as error: print(error.message, error.hints)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert "pip install 'mlbuild[reapi]'" in done.stdout, done.stderr


def test_our_messages_are_those_of_the_api_and_live_beside_others() -> None:
    script = Path(__file__).parents[1] / "reapi_messages_agree.py"

    done = subprocess.run(
        [reapi_servers.buildgrids_python(), script],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(script.parents[1])},
    )

    assert done.stdout == "all agree\n", done.stderr


def test_the_tree_of_nothing_is_always_there(opened: Opener, tmp_path: Path) -> None:
    assert opened().bring_tree(digest_of(encode(Tree(()))), str(tmp_path)) == Tree(())
