"""A bucket that lies. Whatever it says, a reader gets the truth, a miss, or trouble with a name.

Lies are told with all checksums right, as somebody does who may write to the bucket and knows the
format. After each, the reader does what a build does after a miss: it runs the action and pushes;
then the next reader gets the truth.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import zstandard

from mlbuild.core import result as results
from mlbuild.core import tree as trees
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content
from mlbuild.core.tree import Entry, Kind
from mlbuild.shared import entry as entries
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.entry import message_of
from mlbuild.shared.fields import Fields, field, number, sealed, wrapped
from mlbuild.shared.layout import place_of
from mlbuild.shared.listing import MAGIC as LISTING
from mlbuild.shared.listing import PIECE_LIMIT, Listing, decode_listing, encode_listing
from mlbuild.shared.signing import Judge, Signer, new_key
from tests.fault.clouds import (
    KEY,
    MISS,
    NOTHING,
    OTHER,
    OTHER_MANIFEST,
    TRUE,
    Cloud,
    Lie,
    Memory,
    Truth,
    body_of,
    entry_name,
    large_files,
    listing_of,
    packed_files,
    raw_tree,
    small_files,
    stored,
)

CI, EVE = Signer(new_key("ci")), Signer(new_key("eve"))
JUDGE = Judge.of([str(CI.public)])
EVIL = "/tmp/mlbuild-evil"  # noqa: S108 - nobody makes it
HUGE = b"\xff\xff\xff\xff"


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cloud]:
    """Return clouds as honest machines leave them: inline, in packs, in chunks."""
    found = {}
    for name, files in (
        ("small", small_files()),
        ("packed", packed_files()),
        ("large", large_files()),
    ):
        cloud = Cloud(Memory(), Truth.of(files, tmp_path_factory.mktemp(name)), (CI,))
        cloud.push(cloud.cache())
        found[name] = cloud
    return found


@pytest.fixture
def cloud(request: pytest.FixtureRequest, honest: dict[str, Cloud]) -> Cloud:
    """Return a cloud of one's own, of the kind that the parameter names."""
    it = honest[request.param]
    return Cloud(Memory(it.bucket.objects), it.truth, it.signers)


def told(cloud: Cloud, lie: Lie, folder: Path, *, judge: Judge | None = None) -> str:
    """Tell a lie and return what a reader makes of it; then see that a push heals it."""
    before = dict(cloud.bucket.objects)
    lie(cloud)
    assert cloud.bucket.objects != before, "nothing was changed"
    reader = cloud.cache(judge=judge)

    outcome = cloud.seen(reader, folder / "first")
    cloud.push(reader)

    assert cloud.seen(cloud.cache(judge=judge), folder / "healed") == TRUE
    assert {path.name for path in folder.iterdir()} == {"first", "healed"}
    return outcome


@pytest.mark.parametrize("cloud", ["small", "packed", "large"], indirect=True)
@pytest.mark.parametrize("judge", [None, JUDGE], ids=["anybody", "signed"])
def test_an_honest_bucket_gives_the_truth(
    cloud: Cloud, judge: Judge | None, tmp_path: Path
) -> None:
    assert cloud.seen(cloud.cache(judge=judge), tmp_path / "it") == TRUE
    assert cloud.reports == []


# Bytes that are not what they were


def damaged(entry: bytes) -> Iterator[bytes]:
    """Yield an entry with a bit flipped here or there, or cut off."""
    random = Random(3)  # noqa: S311 - seeded
    for at in random.sample(range(len(entry)), min(120, len(entry))):
        yield entry[:at] + bytes([entry[at] ^ 1 << random.randrange(8)]) + entry[at + 1 :]
    for end in range(0, len(entry), max(1, len(entry) // 40)):
        yield entry[:end]


@pytest.mark.parametrize("cloud", ["small", "packed"], indirect=True)
def test_an_entry_with_any_bit_changed_or_cut_off_is_a_miss(cloud: Cloud, tmp_path: Path) -> None:
    outcomes = set()

    for at, content in enumerate(damaged(cloud.entry)):
        cloud.entry = content
        outcomes.add(cloud.seen(cloud.cache(), tmp_path / str(at)))

    assert outcomes == {MISS}


def other_version(cloud: Cloud) -> None:
    body = cloud.entry[len(entries.MAGIC) + 65 :]
    cloud.entry = sealed(body, magic=b"mlbuild entry 9 ")


def with_entry(content: bytes) -> Lie:
    def lie(cloud: Cloud) -> None:
        cloud.entry = content

    return lie


def with_body(change: Callable[[bytes], bytes]) -> Lie:
    """Change the body of the entry, and let its checksum be right again."""

    def lie(cloud: Cloud) -> None:
        body = Fields.wrapped(cloud.entry, magic=entries.MAGIC, limit=entries.LIMIT)
        cloud.entry = wrapped(change(body.take(body.left())), magic=entries.MAGIC)

    return lie


def with_result(change: Callable[[dict[str, object]], object]) -> Lie:
    """Change the fields of the Result, and let all checksums be right again."""

    def lie(cloud: Cloud) -> None:
        body = body_of(cloud.truth.result)
        changed = change(body)
        text = json.dumps(
            body if changed is None else changed, sort_keys=True, separators=(",", ":")
        )
        cloud.forge(result=stored(text.encode()))

    return lie


def field_of(name: str, value: object) -> Lie:
    return with_result(lambda body: body.update({name: value}))


def with_text(change: Callable[[bytes], bytes]) -> Lie:
    """Change the JSON of the Result as text."""

    def lie(cloud: Cloud) -> None:
        text = results.encode(cloud.truth.result).partition(b"\n")[2]
        assert change(text) != text
        cloud.forge(result=stored(change(text)))

    return lie


def output(path: str, kind: str = "f") -> Lie:
    return with_result(
        lambda body: body.update(outputs=[[path, str(Content(kind, NOTHING))], *body["outputs"]])  # type: ignore[misc]
    )


def frame_of(size: int) -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(size))


HASH = "0" * 64
ENTRIES: dict[str, Lie] = {
    "nothing": with_entry(b""),
    "noise": with_entry(frame_of(100) * 50),
    "a page that says sorry": with_entry(b"<html><title>503</title>sorry</html>"),
    "json": with_entry(b'{"outputs": []}'),
    "another version": other_version,
    "more bytes than it says": with_body(lambda body: body + b"more"),
    "a result without an end": with_body(lambda body: HUGE + body[4:]),
    "no body": with_body(lambda _: b""),
    "4 billion signatures": with_body(
        lambda body: body[: body.rindex(CI.key_id.encode()) - 8] + HUGE
    ),
    "a manifest of 4 GiB": lambda cloud: cloud.forge(manifest=b"x" * 20_000),
    "the manifest of another key": lambda cloud: cloud.forge(manifest=OTHER_MANIFEST),
    "not json": with_text(lambda _: b"not json"),
    "json that is no object": with_text(lambda _: b"[1]"),
    "deep json": field_of("metrics", None),  # replaced below: json.dumps cannot write it
    "spaces in json": with_text(lambda text: text.replace(b'":', b'": ', 1)),
    "a field twice": with_text(lambda text: b'{"hermetic":true,' + text[1:]),
    "a field more": field_of("extra", 1),
    "a field less": with_result(lambda body: {**body, "tree": None}),
    "NaN metrics": field_of("metrics", {"loss": math.nan}),
    "infinite metrics": field_of("metrics", {"a": [{"b": -math.inf}]}),
    "metrics that are a list": field_of("metrics", [1]),
    "a number beyond all": with_text(lambda text: text.replace(b'"loss":0.5', b'"loss":1e999')),
    "a number of 5,000 digits": with_text(lambda text: text.replace(b":0.5", b":" + b"9" * 5000)),
    "not hermetic": field_of("hermetic", False),
    "not for others": field_of("share", False),
    "hermetic as a text": field_of("hermetic", "yes"),
    "a negative size": field_of("tree", f"{HASH}:-1"),
    "a size of 2**80": field_of("tree", f"{HASH}:{2**80}"),
    "a size in other digits": with_text(lambda text: text.replace(b':64"', b':\\u0661"', 1) + b" "),
    "a short hash": field_of("tree", "abc:1"),
    "a hash in capitals": field_of("tree", f"{'A' * 64}:1"),
    "a hash that is a path": field_of("tree", f"{'../' * 21}x:1"),
    "negative seconds": field_of("seconds", -1),
    "seconds that are NaN": field_of("seconds", math.nan),
    "seconds that are a text": field_of("seconds", "3"),
    "memory of a fraction": field_of("peak_memory", 1.5),
    "an output above": output("../evil"),
    "an output in the middle of above": output("a/../../evil"),
    "an absolute output": output("/etc/passwd"),
    "an output of no name": output(""),
    "an output with NUL": output("a\0b"),
    "an output 5,000 folders deep": output("a/" * 5000 + "a"),
    "an output of another kind": output("a", kind="l"),
    "an output twice": with_result(
        lambda body: body.update(outputs=[*body["outputs"], *body["outputs"]])  # type: ignore[misc]
    ),
    "an output that the tree has not": output("absent"),
    "an output with other bytes": with_text(
        lambda text: text.replace(digest_of(small_files()["out/log.txt"]).hash.encode(), b"0" * 64)
    ),
    "outputs that are numbers": field_of("outputs", [1, 2]),
    "another tree": field_of("tree", f"{HASH}:100"),
    "the listing of another tree": lambda cloud: cloud.forge(listing=listing_of(raw_tree())),
    "no listing": lambda cloud: cloud.forge(listing=b""),
    "noise for a listing": lambda cloud: cloud.forge(listing=b"noise"),
}
ENTRIES["deep json"] = with_text(
    lambda text: text.replace(b'{"loss":0.5}', b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
)
ENTRIES["json that is read at one depth of the stack and not at another"] = with_text(
    lambda text: text.replace(b'{"loss":0.5}', b'{"a":' + b"[" * 500 + b"]" * 500 + b"}")
)


@pytest.mark.parametrize("cloud", ["small"], indirect=True)
@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_lies_is_no_result(cloud: Cloud, name: str, tmp_path: Path) -> None:
    outcome = told(cloud, ENTRIES[name], tmp_path)

    assert outcome != TRUE


# Trees that lead out of their folder


def out_of(*listed: Entry) -> Lie:
    """Let the entry be of a tree that nobody checked."""
    return lambda cloud: cloud.forge_tree(raw_tree(*listed))


def file(path: str) -> Entry:
    return Entry(path, Kind.FILE, NOTHING)


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, target=target)


TREES: dict[str, Lie] = {
    "a file above": out_of(file("../evil")),
    "a file above by a way round": out_of(file("a/../../evil")),
    "an absolute file": out_of(file(EVIL)),
    "a file named dot": out_of(file("./evil")),
    "a file without a name": out_of(file("")),
    "a file with an empty folder": out_of(file("a//b")),
    "a name with NUL": out_of(file("a\0b")),
    "a name of 300 bytes": out_of(file("n" * 300)),
    "10,000 folders": out_of(file("d/" * 10_000 + "f")),
    "a folder above": out_of(Entry("../evil", Kind.EMPTY)),
    "the same file twice": out_of(file("a"), file("a")),
    "files out of order": out_of(file("b"), file("a")),
    "a file below a file": out_of(file("a"), file("a/b")),
    "a file below a link": out_of(link("a", "."), file("a/b")),
    "an absolute link": out_of(link("a", "/etc/passwd")),
    "a link out": out_of(link("a", "../../etc/passwd")),
    "a link to nothing": out_of(link("a", "")),
    "a link with NUL": out_of(link("a", "b\0c")),
    "links that lead out together": out_of(
        link("b", "c/d/e"), Entry("c/d/e/f", Kind.EMPTY), link("x/y/z/a", "../../../b/../../../..")
    ),
    "an unknown kind": lambda cloud: cloud.forge_tree(trees.MAGIC + b"q\1\0\0\0a"),
    "an entry without an end": lambda cloud: cloud.forge_tree(trees.MAGIC + b"f" + HUGE + b"a"),
    "a file without its size": lambda cloud: cloud.forge_tree(raw_tree(file("a"))[:-8]),
    "another version": lambda cloud: cloud.forge_tree(b"mlbuild tree 9\n"),
    "nothing at all": lambda cloud: cloud.forge_tree(b""),
}


@pytest.mark.parametrize("cloud", ["small"], indirect=True)
@pytest.mark.parametrize("name", TREES)
def test_a_tree_that_leads_elsewhere_is_not_made(cloud: Cloud, name: str, tmp_path: Path) -> None:
    outcome = told(cloud, TREES[name], tmp_path)

    assert outcome != TRUE
    assert not list((tmp_path / "first").iterdir())
    assert not Path(EVIL).exists()


# Packs and chunks


def with_listing(change: Callable[[Listing], Listing]) -> Lie:
    """Let the listing place the right tree elsewhere."""

    def lie(cloud: Cloud) -> None:
        now = decode_listing(cloud.listing(), cloud.truth.result.tree)
        cloud.forge_listing(encode_listing(change(now)))

    return lie


def first_object(kind: str, change: Callable[[bytes], bytes | None]) -> Lie:
    """Change the bytes of the first object of a kind; None takes it away."""

    def lie(cloud: Cloud) -> None:
        name = cloud.names(kind)[0]
        changed = change(cloud.bucket.objects.pop(name))
        if changed is not None:
            cloud.bucket.objects[name] = changed

    return lie


def swapped(kind: str) -> Lie:
    """Give two objects each other's bytes."""

    def lie(cloud: Cloud) -> None:
        one, two = cloud.names(kind)[:2]
        objects = cloud.bucket.objects
        objects[one], objects[two] = objects[two], objects[one]

    return lie


def flipped(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def bomb(kind: str, size: int, *, told: int) -> Lie:
    """Let the first piece of a kind become `size` bytes; `told` are declared, 0: what it had."""

    def lie(cloud: Cloud) -> None:
        frame = frame_of(size)
        now = decode_listing(cloud.listing(), cloud.truth.result.tree)
        was = next(piece for its_kind, piece in now.pieces() if its_kind == kind)
        one = replace(was, size=told or was.size, stored=len(frame), squeezed=True)
        cloud.bucket.objects[place_of(one, kind, scope="main")] = frame
        packs = tuple(replace(it, piece=one if it.piece == was else it.piece) for it in now.packs)
        chunks = tuple(tuple(one if it == was else it for it in its) for its in now.chunks)
        cloud.forge_listing(encode_listing(replace(now, packs=packs, chunks=chunks)))

    return lie


PACKED: dict[str, Lie] = {
    "a pack that is gone": first_object("packs", lambda _: None),
    "a pack with another bit": first_object("packs", flipped),
    "a pack that ends early": first_object("packs", lambda it: it[:-1]),
    "a pack that goes on": first_object("packs", lambda it: it + b"more"),
    "an empty pack": first_object("packs", lambda _: b""),
    "a pack of zeros": first_object("packs", lambda it: bytes(len(it))),
    "a pack that is a bomb": bomb("packs", 1 << 30, told=0),
    "no packs": with_listing(lambda it: replace(it, packs=())),
    "a pack twice": with_listing(lambda it: replace(it, packs=it.packs * 2)),
    "a pack of fewer files": with_listing(
        lambda it: replace(it, packs=(replace(it.packs[0], contents=3),))
    ),
    "a pack of no files": with_listing(
        lambda it: replace(it, packs=(replace(it.packs[0], contents=0), *it.packs))
    ),
    "inline bytes besides": with_listing(lambda it: replace(it, inline=b"x")),
}
LARGE: dict[str, Lie] = {
    "a chunk that is gone": first_object("chunks", lambda _: None),
    "a chunk with another bit": first_object("chunks", flipped),
    "a chunk that ends early": first_object("chunks", lambda it: it[: len(it) // 2]),
    "a chunk that goes on": first_object("chunks", lambda it: it + it),
    "chunks in each other's place": swapped("chunks"),
    "a chunk that is a bomb": bomb("chunks", 1 << 30, told=0),
    "a chunk that is declared to be one": bomb("chunks", 1 << 30, told=1 << 30),
    "chunks in another order": with_listing(
        lambda it: replace(it, chunks=tuple(pieces[::-1] for pieces in it.chunks))
    ),
    "no chunks": with_listing(lambda it: replace(it, chunks=((), *it.chunks[1:]))),
    "no file with chunks": with_listing(lambda it: replace(it, chunks=())),
    "a chunk twice": with_listing(
        lambda it: replace(it, chunks=((*it.chunks[0], it.chunks[0][0]), *it.chunks[1:]))
    ),
    "a chunk above the limit": with_listing(
        lambda it: replace(
            it,
            chunks=(
                (replace(it.chunks[0][0], size=PIECE_LIMIT + 1, stored=PIECE_LIMIT + 1),),
                *it.chunks[1:],
            ),
        )
    ),
    "chunks of one file for two": with_listing(
        lambda it: replace(it, chunks=(it.chunks[0], it.chunks[0]))
    ),
}


@pytest.mark.parametrize("cloud", ["packed"], indirect=True)
@pytest.mark.parametrize("name", PACKED)
def test_a_pack_that_lies_gives_no_file(cloud: Cloud, name: str, tmp_path: Path) -> None:
    assert told(cloud, PACKED[name], tmp_path) != TRUE


@pytest.mark.parametrize("cloud", ["large"], indirect=True)
@pytest.mark.parametrize("name", LARGE)
def test_a_chunk_that_lies_gives_no_file(cloud: Cloud, name: str, tmp_path: Path) -> None:
    assert told(cloud, LARGE[name], tmp_path) != TRUE


def listing_body(cloud: Cloud) -> bytes:
    body = field(trees.encode(cloud.truth.tree))
    return body + number(1) + number(120)


LISTINGS: dict[str, Callable[[Cloud], bytes]] = {
    "counts of 4 billion": lambda cloud: field(trees.encode(cloud.truth.tree)) + HUGE,
    "a pack of 4 billion files": lambda cloud: (
        field(trees.encode(cloud.truth.tree)) + number(1) + HUGE
    ),
    "a piece without its end": lambda cloud: listing_body(cloud) + b"x" * 10,
    "a flag of its own": lambda cloud: (
        field(trees.encode(cloud.truth.tree)) + number(0) + number(0) + b"\7"
    ),
    "a tree of 4 GiB": lambda _: HUGE,
}


@pytest.mark.parametrize("cloud", ["packed"], indirect=True)
@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("squeezed", [False, True])
def test_a_listing_that_lies_about_itself_is_damage(
    cloud: Cloud, name: str, *, squeezed: bool, tmp_path: Path
) -> None:
    body = LISTINGS[name](cloud)
    frame = zstandard.ZstdCompressor().compress(body)
    content = number(len(body)) + (b"\1" + frame if squeezed else b"\0" + body)

    outcome = told(cloud, lambda it: it.forge_listing(sealed(content, magic=LISTING)), tmp_path)

    assert outcome != TRUE


# Whose word it is


def signed_by(signer: Signer, *, key: str = KEY, name: str = "") -> Lie:
    """Let the entry be signed by somebody, perhaps for another key or under another's name."""

    def lie(cloud: Cloud) -> None:
        message = message_of(key, results.encode(cloud.truth.result))
        cloud.forge(signatures=((name or signer.key_id, signer.sign(message)),))

    return lie


def other_result(cloud: Cloud) -> None:
    """Keep the signature, and let the result say something else."""
    better = replace(cloud.truth.result, metrics={"loss": 0.0})
    cloud.forge(result=results.encode(better))


def replayed(cloud: Cloud) -> None:
    """Put an entry that is signed, and true, under a key that it is not of."""
    truth = cloud.truth.result
    other = replace(truth, metrics={"loss": 9.0})
    signature = CI.sign(message_of(OTHER, results.encode(other)))
    cloud.forge(result=results.encode(other), manifest=b"", signatures=((CI.key_id, signature),))


SIGNATURES: dict[str, Lie] = {
    "none": lambda cloud: cloud.forge(signatures=()),
    "a stranger's": signed_by(EVE),
    "a stranger's under the name of the trusted": signed_by(EVE, name=CI.key_id),
    "one for another key": signed_by(CI, key=OTHER),
    "one of another result": other_result,
    "one of an entry of another key": replayed,
    "an empty one": lambda cloud: cloud.forge(signatures=((CI.key_id, b""),)),
    "noise": lambda cloud: cloud.forge(signatures=((CI.key_id, b"\xff" * 64),)),
    "zeros": lambda cloud: cloud.forge(signatures=((CI.key_id, bytes(64)),)),
    "half of one": lambda cloud: cloud.forge(
        signatures=((CI.key_id, CI.sign(message_of(KEY, results.encode(cloud.truth.result)))[:32]),)
    ),
    "one without a domain": lambda cloud: cloud.forge(
        signatures=((CI.key_id, CI.sign(results.encode(cloud.truth.result))),)
    ),
    "a name that is no text": lambda cloud: cloud.forge(signatures=(("\u00e9", b"x" * 64),)),
    "17 of them": lambda cloud: cloud.forge(signatures=((EVE.key_id, b"x" * 64),) * 17),
    "one of a kilobyte": lambda cloud: cloud.forge(signatures=((CI.key_id, b"x" * 2000),)),
}


@pytest.mark.parametrize("cloud", ["small", "large"], indirect=True)
@pytest.mark.parametrize("name", SIGNATURES)
def test_what_nobody_trusted_has_signed_is_a_miss(cloud: Cloud, name: str, tmp_path: Path) -> None:
    outcome = told(cloud, SIGNATURES[name], tmp_path, judge=JUDGE)

    assert outcome == MISS


@pytest.mark.parametrize("cloud", ["small"], indirect=True)
@pytest.mark.parametrize(("hermetic", "share"), [(False, True), (True, False)])
def test_even_a_trusted_key_cannot_share_what_is_not_to_be_shared(
    cloud: Cloud, *, hermetic: bool, share: bool, tmp_path: Path
) -> None:
    def lie(it: Cloud) -> None:
        result = results.encode(replace(it.truth.result, hermetic=hermetic, share=share))
        it.forge(result=result, signatures=((CI.key_id, CI.sign(message_of(KEY, result))),))

    assert told(cloud, lie, tmp_path, judge=JUDGE) == MISS


# Scopes


@pytest.mark.parametrize("cloud", ["small"], indirect=True)
@pytest.mark.parametrize("reader", ["main", "pr/18", "dev/pr"])
def test_an_entry_of_a_pull_request_is_read_by_itself_alone(
    cloud: Cloud, reader: str, tmp_path: Path
) -> None:
    cloud.bucket.objects = {
        name.replace("main/", "pr/17/", 1): content
        for name, content in cloud.bucket.objects.items()
    }

    own = cloud.seen(cloud.cache(scope="pr/17"), tmp_path / "own")
    other = cloud.seen(cloud.cache(scope=reader), tmp_path / "other")

    assert (own, other) == (TRUE, MISS)


@pytest.mark.parametrize("cloud", ["packed", "large"], indirect=True)
def test_an_entry_of_main_takes_its_bytes_from_main_alone(cloud: Cloud, tmp_path: Path) -> None:
    objects = cloud.bucket.objects
    for kind in ("packs", "chunks"):
        for name in cloud.names(kind):
            objects[name.replace("main/", "pr/17/", 1)] = objects.pop(name)

    assert cloud.seen(cloud.cache(), tmp_path / "it") not in {TRUE, MISS}


@pytest.mark.parametrize("scope", ["", "..", "main/..", "/main", "pr/../main", "ac", "a b"])
def test_a_scope_that_leads_elsewhere_is_refused(honest: dict[str, Cloud], scope: str) -> None:
    with pytest.raises(SharedTrouble, match="cannot be a scope"):
        honest["small"].cache(scope=scope)


def test_the_suite_tells_many_lies(honest: dict[str, Cloud]) -> None:
    assert len(ENTRIES | TREES | PACKED | LARGE | SIGNATURES | LISTINGS) >= 100
    assert entry_name(KEY) in honest["small"].bucket.objects
