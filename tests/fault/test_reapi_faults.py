"""Cache servers that lie, break off, stall and refuse, and those that offer more than most."""

import datetime as dt
import ipaddress
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard

from mlbuild.core.digest import digest_of
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, digest_tree, encode, tree_of
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import Shared, SharedTrouble
from mlbuild.shared.entry import Entry as Entry_
from mlbuild.shared.entry import encode_entry
from mlbuild.shared.reapi import open_reapi
from mlbuild.shared.reapi_access import Access
from mlbuild.shared.reapi_blobs import RANGE
from mlbuild.shared.reapi_records import MAGIC
from tests.reapi_liar import PIECE, Liar, running

MANIFEST = b"facts"
KEY = key_of(MANIFEST)
SMALL, LARGE = os.urandom(100_000), os.urandom(3 << 20)
TEXT = b"the same words again and again\n" * 200_000  # 6 MB
FILES = {"small": SMALL, "large": LARGE}
BOMB = zstandard.compress(bytes(64 << 20))  # 64 MiB from a few KiB


@pytest.fixture
def liar() -> Iterator[Liar]:
    with running(Liar()) as server:
        yield server


class Told(list[tuple[str, str]]):
    """What was reported: names and reasons."""

    def hear(self, name: str, _: bytes, why: str) -> None:
        """Take a report."""
        self.append((name, why))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def opened(liar: Liar, told: Told) -> Iterator[Callable[..., Shared]]:
    caches: list[Shared] = []

    def open_one(**others: Any) -> Shared:
        cache = open_reapi(liar.url, report=told.hear, **{"patience": 30.0, **others})
        caches.append(cache)
        return cache

    yield open_one
    for cache in caches:
        cache.close()


def laid(folder: Path, files: dict[str, bytes]) -> Tree:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return tree_of(Entry(name, Kind.FILE, digest_of(content)) for name, content in files.items())


def result_of(tree: Tree) -> Result:
    outputs = tuple((entry.path, Content("f", digest)) for entry, digest in tree.files())
    return Result(outputs, digest_tree(tree))


def sent(cache: Shared, folder: Path, files: dict[str, bytes]) -> Result:
    tree = laid(folder, files)
    cache.send_tree(tree, str(folder))
    return cache.publish(KEY, result_of(tree), manifest=MANIFEST)


def brought(cache: Shared, result: Result, folder: Path) -> dict[str, bytes] | None:
    folder.mkdir()
    tree = cache.bring_tree(result.tree, str(folder))
    if tree is None:
        return None
    return {entry.path: (folder / entry.path).read_bytes() for entry, _ in tree.files()}


# -- wrong bytes


def _flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def _batch(change: Callable[[Any], object]) -> dict[str, Callable[[Any], Any]]:
    """Return a lie about each blob in a batch."""

    def lie(answer: Any) -> Any:
        for response in answer.responses:
            change(response)
        return answer

    return {"BatchReadBlobs": lie}


def _stream(change: Callable[[bytes], Iterator[bytes]]) -> dict[str, Callable[[Any], Any]]:
    """Return a lie about the bytes of a stream."""

    def lie(answers: Any) -> Iterator[Any]:
        for answer in answers:
            for piece in change(answer.data):
                yield wire.READ.response(data=piece)

    return {"Read": lie}


def _set(**fields: object) -> Callable[[Any], object]:
    def change(response: Any) -> None:
        for name, value in fields.items():
            setattr(response, name, value)

    return change


def _endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


BYTES = {
    "batch: other bytes": _batch(lambda it: setattr(it, "data", _flipped(it.data))),
    "batch: fewer": _batch(lambda it: setattr(it, "data", it.data[:-1])),
    "batch: more": _batch(lambda it: setattr(it, "data", it.data + b"x")),
    "batch: none": _batch(_set(data=b"")),
    "batch: a bomb": _batch(_set(data=BOMB, compressor=wire.ZSTD)),
    "batch: no zstd": _batch(_set(compressor=wire.ZSTD)),
    "batch: other digests": _batch(lambda it: setattr(it.digest, "hash", "0" * 64)),
    "batch: no answer": {"BatchReadBlobs": lambda _: wire.BATCH_READ.response()},
    "stream: other bytes": _stream(lambda data: iter([_flipped(data)])),
    "stream: fewer": _stream(lambda data: iter([data[1:]])),
    "stream: more": _stream(lambda data: iter([data, b"x"])),
    "stream: endless": _stream(_endless),
    "stream: endless and empty": _stream(lambda _: _endless(b"")),
    "stream: none": _stream(lambda _: iter([])),
}


@pytest.mark.parametrize("lie", sorted(BYTES))
def test_wrong_bytes_are_a_miss(
    liar: Liar, told: Told, opened: Callable[..., Shared], tmp_path: Path, lie: str
) -> None:
    result = sent(opened(), tmp_path / "here", FILES)
    there = opened()
    assert there.lookup(KEY) == result
    liar.lies = BYTES[lie]

    files = brought(there, result, tmp_path / "there")

    assert files is None
    assert told or lie in {"batch: other digests", "batch: no answer"}


@pytest.mark.parametrize("lie", ["batch: other bytes", "batch: a bomb", "stream: endless"])
def test_a_single_blob_with_wrong_bytes_is_absent(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path, lie: str
) -> None:
    digest = opened().put(LARGE if lie.startswith("stream") else SMALL)
    liar.lies = BYTES[lie]
    target = tmp_path / "copy"

    assert opened().fetch(digest, str(target)) is False
    assert not target.exists()
    if lie != "stream: endless":
        assert opened().read(digest) is None


def test_a_zstd_bomb_in_a_stream_never_becomes_large(
    liar: Liar, told: Told, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.compressors = [wire.ZSTD]
    result = sent(opened(), tmp_path / "here", {"text": TEXT})
    there = opened()
    assert there.lookup(KEY) == result
    liar.lies = _stream(lambda _: iter([BOMB] * 100))

    files = brought(there, result, tmp_path / "there")

    assert files is None
    assert "does not end" in told[0][1]
    assert (tmp_path / "there/text").stat().st_size <= len(TEXT)


# -- wrong entries and listings


def _record(content: bytes) -> Callable[[Any], Any]:
    def lie(result: Any) -> Any:
        result.stdout_raw = content
        return result

    return lie


def _sealed_listing(tree: bytes, *spots: Any) -> bytes:
    body = wire.Listing(tree=tree, files=spots).SerializeToString()
    return _sealed(struct.pack("<I", len(body)) + b"\0" + body)


def _sealed(body: bytes) -> bytes:
    return MAGIC + digest_of(body).hash.encode() + b"\n" + body


def _tree_record(listing: bytes) -> bytes:
    body = wire.TreeRecord(listing=listing).SerializeToString()
    return _sealed(struct.pack("<I", len(body)) + b"\0" + body)


HERE = wire.Spot(size=1, inline=b"x")
OUTSIDE = encode(Tree((Entry("../../escaped", Kind.FILE, digest_of(b"x")),)))
LINKED = encode(Tree((Entry("link", Kind.SYMLINK, target="/etc"),)))
TWICE = encode(
    Tree((Entry("a", Kind.FILE, digest_of(b"x")), Entry("a/b", Kind.FILE, digest_of(b"x"))))
)
HUGE = encode(Tree((Entry("a", Kind.FILE, digest_of(b"x")),)))
LISTINGS = {
    "names outside": (OUTSIDE, [HERE]),
    "links outside": (LINKED, []),
    "a file below a file": (TWICE, [HERE]),
    "fewer places": (HUGE, []),
    "more places": (HUGE, [HERE, HERE]),
    "another size": (HUGE, [wire.Spot(size=1 << 60, hash=b"h" * 32)]),
    "nowhere": (HUGE, [wire.Spot(size=1)]),
    "a hash too short": (HUGE, [wire.Spot(size=1, hash=b"h")]),
    "other bytes": (HUGE, [wire.Spot(size=1, inline=b"y")]),
}


@pytest.mark.parametrize("lie", sorted(LISTINGS))
def test_a_listing_that_cannot_be_writes_nothing_outside(
    liar: Liar, told: Told, opened: Callable[..., Shared], tmp_path: Path, lie: str
) -> None:
    tree, spots = LISTINGS[lie]
    sent(opened(), tmp_path / "here", FILES)
    liar.lies = {"GetActionResult": _record(_tree_record(_sealed_listing(tree, *spots)))}
    liar.results = _Everything(next(iter(liar.results.values())))
    (tmp_path / "deep/there").mkdir(parents=True)

    arrived = opened().bring_tree(digest_of(tree), str(tmp_path / "deep/there"))

    assert arrived is None
    assert told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "here"]


class _Everything(dict[str, Any]):
    """Has one answer for all keys."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def get(self, _: str, __: Any = None) -> Any:
        return self._answer


RECORDS = {
    "garbage": b"garbage",
    "nothing": b"",
    "a bomb": _sealed(struct.pack("<I", 64 << 20) + b"\1" + BOMB),
    "a size that is too large": _sealed(struct.pack("<I", (1 << 32) - 1) + b"\1" + BOMB),
    "no message": _sealed(struct.pack("<I", 3) + b"\0\xff\xff\xff"),
}


@pytest.mark.parametrize("lie", sorted(RECORDS))
def test_a_record_that_cannot_be_read_is_a_miss(
    liar: Liar, told: Told, opened: Callable[..., Shared], tmp_path: Path, lie: str
) -> None:
    result = sent(opened(), tmp_path / "here", FILES)
    liar.lies = {"GetActionResult": _record(RECORDS[lie])}
    there = opened()

    found = there.lookup(KEY), brought(there, result, tmp_path / "there"), there.manifest(KEY)

    assert found == (None, None, None)
    assert bool(told) == (lie != "nothing")


def test_an_entry_of_another_key_is_not_believed_without_its_signature(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    sent(opened(), tmp_path / "here", FILES)
    liar.results = _Everything(next(iter(reversed(liar.results.values()))))

    found = opened().lookup("1" * 64)

    assert found is None  # its manifest is that of another key


def test_a_wrong_entry_gives_way_to_the_next_result(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    sent(opened(), tmp_path / "here", FILES)
    for result in liar.results.values():
        result.stdout_raw = b"garbage"

    again = sent(opened(), tmp_path / "again", FILES)

    assert opened().lookup(KEY) == again
    assert brought(opened(), again, tmp_path / "there") == FILES


def test_wrong_bytes_inside_an_entry_give_way_though_the_tree_is_the_same(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    tree = laid(tmp_path / "here", {"a": b"x"})
    evil = _sealed_listing(encode(tree), wire.Spot(size=1, inline=b"y"))
    planted = encode_entry(Entry_(result_of(tree), evil))
    sent(opened(), tmp_path / "here", {"a": b"x"})
    for result in liar.results.values():
        result.stdout_raw = planted
    assert brought(opened(), result_of(tree), tmp_path / "lost") is None

    again = sent(opened(), tmp_path / "again", {"a": b"x"})

    there = opened()
    assert there.lookup(KEY) == again
    assert brought(there, again, tmp_path / "there") == {"a": b"x"}


# -- interruptions


def test_a_download_that_breaks_off_goes_on_where_it_was(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    result = sent(opened(), tmp_path / "here", {"large": LARGE})
    liar.offsets.clear()
    liar.broken = 1

    files = brought(opened(), result, tmp_path / "there")

    assert files == {"large": LARGE}
    assert len(liar.offsets) == 2
    assert liar.offsets[1] >= len(LARGE) // 2 - PIECE


def test_an_upload_that_breaks_off_goes_on_where_it_was(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.broken = 1

    result = sent(opened(), tmp_path / "here", {"large": LARGE})

    assert brought(opened(), result, tmp_path / "there") == {"large": LARGE}
    assert liar.offsets[0] == 0
    assert liar.offsets[1] >= len(LARGE) // 2


def test_compressed_streams_that_break_off_are_whole_in_the_end(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.compressors = [wire.ZSTD]
    text = "".join(f"{number} {number**3}\n" for number in range(300_000)).encode()
    liar.broken = 1

    result = sent(opened(), tmp_path / "here", {"text": text})
    liar.broken = 1

    assert brought(opened(), result, tmp_path / "there") == {"text": text}
    assert any("compressed-blobs/zstd" in name for name in liar.names)


def test_a_server_that_always_breaks_off_is_given_up(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.refused = {"Write": grpc.StatusCode.UNAVAILABLE}

    with pytest.raises(SharedTrouble) as caught:
        sent(opened(), tmp_path / "here", {"large": LARGE})

    assert caught.value.kind == "unreachable"
    assert liar.calls["Write"] < 10


@pytest.mark.parametrize("method", ["GetActionResult", "BatchReadBlobs", "Read"])
def test_a_server_that_stalls_is_given_up(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path, method: str
) -> None:
    result = sent(opened(), tmp_path / "here", FILES)
    liar.stalled = method

    with pytest.raises(SharedTrouble) as caught:
        brought(opened(patience=0.2), result, tmp_path / "there")

    assert caught.value.kind == "slow"


# -- refusals

REFUSALS = [
    ("GetActionResult", grpc.StatusCode.UNAUTHENTICATED, "denied", "cache.token"),
    ("GetActionResult", grpc.StatusCode.PERMISSION_DENIED, "denied", "read the action cache"),
    ("UpdateActionResult", grpc.StatusCode.PERMISSION_DENIED, "denied", "write the action cache"),
    ("BatchUpdateBlobs", grpc.StatusCode.PERMISSION_DENIED, "denied", "write the content"),
    ("BatchUpdateBlobs", grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "quota"),
    ("UpdateActionResult", grpc.StatusCode.UNIMPLEMENTED, "readonly", "cache.write"),
    ("GetCapabilities", grpc.StatusCode.UNIMPLEMENTED, "refused", "cache.url"),
    ("FindMissingBlobs", grpc.StatusCode.UNAVAILABLE, "unreachable", "cache.url"),
    ("FindMissingBlobs", grpc.StatusCode.DEADLINE_EXCEEDED, "slow", "network"),
    ("FindMissingBlobs", grpc.StatusCode.INVALID_ARGUMENT, "refused", ""),
]


@pytest.mark.parametrize(("method", "status", "kind", "cure"), REFUSALS)
def test_a_refusal_has_a_kind_and_a_cure(
    liar: Liar,
    opened: Callable[..., Shared],
    tmp_path: Path,
    *,
    method: str,
    status: grpc.StatusCode,
    kind: str,
    cure: str,
) -> None:
    liar.refused = {method: status}

    with pytest.raises(SharedTrouble) as caught:
        sent(opened(), tmp_path / "here", FILES)

    assert caught.value.kind == kind
    assert cure in caught.value.cure
    assert f"127.0.0.1:{liar.port}" in caught.value.message


def test_a_server_that_takes_no_results_is_only_read(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    result = sent(opened(), tmp_path / "here", FILES)
    liar.updates = False

    with pytest.raises(SharedTrouble, match="no ActionCache updates") as caught:
        sent(opened(), tmp_path / "again", {**FILES, "more": b"more"})

    assert caught.value.kind == "readonly"
    assert brought(opened(), result, tmp_path / "there") == FILES


def test_a_server_with_neither_of_our_hash_functions_is_refused(
    liar: Liar, opened: Callable[..., Shared]
) -> None:
    liar.functions = [3]  # MD5

    with pytest.raises(SharedTrouble, match="neither SHA-256 nor BLAKE3"):
        opened().lookup(KEY)


# -- what servers may offer


def test_a_tree_is_one_question_and_few_batches(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    files = {f"f{number:04}": os.urandom(5_000) for number in range(1000)}

    result = sent(opened(), tmp_path / "here", files)

    assert brought(opened(), result, tmp_path / "there") == files
    assert liar.calls["FindMissingBlobs"] == 1
    assert liar.calls["BatchUpdateBlobs"] <= 4
    assert liar.calls["BatchReadBlobs"] <= 5
    assert liar.calls["UpdateActionResult"] == 2  # of the tree and of the key


def test_batches_keep_within_the_servers_limit(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.batch = 50_000
    sizes: list[int] = []
    liar.lies = {
        "BatchReadBlobs": lambda it: sizes.append(sum(len(r.data) for r in it.responses)) or it
    }
    files = {f"f{number}": os.urandom(9_000 * number) for number in range(1, 9)}

    result = sent(opened(), tmp_path / "here", files)

    assert brought(opened(), result, tmp_path / "there") == files
    assert max(sizes) <= liar.batch
    assert liar.calls["Write"] >= 3  # those that no batch can hold


@pytest.mark.parametrize("function", [wire.SHA256, wire.BLAKE3])
@pytest.mark.parametrize("zstd", [False, True], ids=["plain", "zstd"])
def test_what_a_server_offers_is_used(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path, *, function: int, zstd: bool
) -> None:
    liar.functions = [wire.SHA256, wire.BLAKE3] if function == wire.BLAKE3 else [wire.SHA256]
    liar.compressors = liar.batch_compressors = [wire.ZSTD] if zstd else []
    files = {**FILES, "text": TEXT, "words": TEXT[:90_000], "empty": b""}
    here = opened()

    result = sent(here, tmp_path / "here", files)
    there = opened()

    assert brought(there, result, tmp_path / "there") == files
    dense = len(SMALL) + len(LARGE)
    texts = len(TEXT) + 90_000
    assert (here.traffic.up < dense + texts // 10) == zstd
    assert (there.traffic.down < dense + texts // 10) == zstd
    assert any("blobs/blake3/" in name for name in liar.names) == (function == wire.BLAKE3)
    if function == wire.BLAKE3:
        assert digest_of(LARGE).hash in liar.blobs


def test_what_is_dense_is_never_compressed(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.compressors = liar.batch_compressors = [wire.ZSTD]

    sent(opened(), tmp_path / "here", FILES)

    assert liar.names
    assert not any("compressed-blobs" in name for name in liar.names)


def test_a_very_large_file_comes_in_several_streams(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    content = bytes(RANGE) + b"the end"
    result = sent(opened(), tmp_path / "here", {"large": content})
    liar.offsets.clear()

    files = brought(opened(), result, tmp_path / "there")

    assert files == {"large": content}
    assert sorted(liar.offsets) == [0, RANGE]


@pytest.mark.parametrize("function", [wire.SHA256, wire.BLAKE3])
def test_single_blobs_come_back_under_both_hash_functions(
    liar: Liar, opened: Callable[..., Shared], function: int
) -> None:
    liar.functions = [function]
    here = opened()
    contents = [b"", b"x", SMALL, LARGE]

    digests = [here.put(content) for content in contents]
    there = opened()

    assert there.missing([*digests, digest_of(b"absent")]) == {digest_of(b"absent")}
    assert [there.read(digest) for digest in digests] == contents


def test_a_server_may_keep_what_results_print_as_blobs(
    liar: Liar, opened: Callable[..., Shared], tmp_path: Path
) -> None:
    liar.moves_stdout = True

    result = sent(opened(), tmp_path / "here", FILES)

    there = opened()
    assert there.lookup(KEY) == result
    assert brought(there, result, tmp_path / "there") == FILES


# -- secure connections


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, Path]:
    """Return a key, its certificate, and a file with the latter."""
    from cryptography import x509  # noqa: PLC0415 - an optional extra
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - likewise

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cache of a test")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    path.write_bytes(pem)
    return secret, pem, path


def test_a_secure_server_is_trusted_by_its_certificate_and_knows_the_token(
    certificate: tuple[bytes, bytes, Path], tmp_path: Path
) -> None:
    secret, pem, path = certificate
    access = Access(tls_ca=str(path), token="t0ken", headers=("X-Team: vision",))  # noqa: S106 - nobody's
    with running(Liar(), tls=(secret, pem)) as liar:
        cache = open_reapi(liar.url.replace("grpc:", "grpcs:"), access=access)

        result = sent(cache, tmp_path / "here", FILES)

        assert brought(cache, result, tmp_path / "there") == FILES
        cache.close()
    assert liar.metadata["authorization"] == "Bearer t0ken"
    assert liar.metadata["x-team"] == "vision"


def test_a_server_whose_certificate_nobody_vouches_for_is_refused(
    certificate: tuple[bytes, bytes, Path],
) -> None:
    secret, pem, _ = certificate
    with running(Liar(), tls=(secret, pem)) as liar:
        cache = open_reapi(liar.url.replace("grpc:", "grpcs:"))

        with pytest.raises(SharedTrouble) as caught:
            cache.lookup(KEY)

        cache.close()
    assert caught.value.kind == "refused"
    assert "cache.tls_ca" in caught.value.cure
    assert not liar.calls


def test_a_certificate_that_cannot_be_read_is_named() -> None:
    cache = open_reapi("grpcs://127.0.0.1:9", access=Access(tls_ca="/nowhere/ca.pem"))

    with pytest.raises(SharedTrouble, match=r"/nowhere/ca\.pem"):
        cache.lookup(KEY)

    cache.close()
