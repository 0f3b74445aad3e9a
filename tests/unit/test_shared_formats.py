"""Entries, listings and frames from outside: any bytes are a value or trouble, and cost little."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbuild.core import result as results
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry as TreeEntry
from mlbuild.core.tree import Kind, Tree, digest_tree, tree_of
from mlbuild.shared import entry as entries
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.entry import Entry, decode_entry, encode_entry, is_of
from mlbuild.shared.fields import field, number, sealed, wrapped
from mlbuild.shared.listing import (
    LARGE,
    LIMIT,
    MAGIC,
    PIECE_LIMIT,
    Listing,
    Pack,
    Piece,
    decode_listing,
    encode_listing,
)
from mlbuild.shared.packs import pack_id
from mlbuild.shared.squeeze import squeeze, unsqueeze

NOISE = Random(3).randbytes(5_000_000)  # noqa: S311 - reproducible on purpose
HASH = digest_of(b"").hash
SMALL = [digest_of(b"%d" % number) for number in range(4)]
BIG = Digest(digest_of(b"big").hash, 3 * LARGE)
TREE = tree_of(
    [
        *(TreeEntry(f"s{at}", Kind.FILE, digest) for at, digest in enumerate(SMALL)),
        TreeEntry("big", Kind.EXECUTABLE, BIG),
        TreeEntry("link", Kind.SYMLINK, target="s1"),
    ]
)
LISTING = Listing(
    TREE,
    packs=(Pack(Piece(HASH, 3, 3), 3), Pack(Piece(HASH, 1, 1, in_main=True), 1)),
    chunks=((Piece(HASH, LARGE, LARGE), Piece(HASH, 2 * LARGE, 77, squeezed=True)),),
)
INLINE = Listing(tree_of([TreeEntry("s", Kind.FILE, SMALL[0])]), inline=b"0")
MANIFEST = b"facts of an action"
KEY = key_of(MANIFEST)
RESULT = Result(
    (("s0", Content("f", SMALL[0])), ("big", Content("x", BIG))),
    digest_tree(TREE),
    metrics={"loss": 0.5, "deep": [{"a": None}]},
    seconds=2.0,
    log=SMALL[1],
    undeclared=("junk",),
    gpus=("H100",),
)
ENTRY = Entry(RESULT, encode_listing(LISTING), MANIFEST, (("key", b"s" * 64),))

GOLDEN = [  # hashes of what version 1 writes
    "9bf7c6499edb60a7",
    "3f26166da4231a45",
    "07b25c802895c290",
    "030f180a3016deac",
    "fa8792a6cd27791d",
]


# -- what was written is read


@pytest.mark.parametrize("listing", [LISTING, INLINE, Listing(Tree(()), inline=b"")])
def test_a_listing_is_read_as_it_was_written(listing: Listing) -> None:
    assert decode_listing(encode_listing(listing), digest_tree(listing.tree)) == listing


@pytest.mark.parametrize("one", [ENTRY, Entry(RESULT)])
def test_an_entry_is_read_as_it_was_written(one: Entry) -> None:
    assert decode_entry(encode_entry(one), KEY) == one


@pytest.mark.parametrize("content", [b"", b"a", b"a" * 70, b"word " * 99_999, NOISE[:200_000]])
def test_what_was_squeezed_comes_back(content: bytes) -> None:
    frame = squeeze(content)

    assert frame is None or len(frame) < len(content)
    assert frame is None or unsqueeze(frame, size=len(content)) == content


def test_what_is_dense_is_left_alone() -> None:
    assert squeeze(NOISE) is None
    assert squeeze(b"text " * 100_000) is not None


def test_the_formats_are_those_of_version_1() -> None:
    """What other machines wrote must stay readable: a new format needs a new version."""
    signed = Entry(RESULT, b"listing", MANIFEST, (("key", b"s"),))
    golden = [
        body_of(encode_listing(LISTING)),
        body_of(encode_listing(INLINE)),
        body_of(encode_entry(signed)),
        pack_id(SMALL).encode(),
        entries.message_of(KEY, results.encode(RESULT)),
    ]

    assert [digest_of(it).hash[:16] for it in golden] == GOLDEN


# -- any bytes at all


def total(decode: Callable[[], object]) -> object:
    """Decode, where trouble of the right kind is an answer; anything else fails the test."""
    try:
        return decode()
    except SharedTrouble as trouble:
        if trouble.kind != "damaged" or not trouble.message:
            raise AssertionError from trouble
        return None


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """Return `content` with some bytes changed, inserted or removed."""
    return st.lists(
        st.tuples(st.integers(0, len(content)), st.binary(max_size=5), st.integers(0, 5)),
        min_size=1,
        max_size=4,
    ).map(lambda changes: _changed(content, changes))


def _changed(content: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for at, inserted, removed in changes:
        content = content[:at] + inserted + content[at + removed :]
    return content


def body_of(content: bytes) -> bytes:
    """Return what was wrapped."""
    head = content.index(b"\n") + 1
    rest = content[head + 5 :]
    size = int.from_bytes(content[head : head + 4], "little")
    return unsqueeze(rest, size=size) if content[head + 4] else rest


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=300) | mutated(encode_listing(LISTING)))
def test_any_bytes_are_a_listing_or_trouble(content: bytes) -> None:
    total(lambda: decode_listing(content, digest_tree(TREE)))


@settings(max_examples=120, deadline=None)
@given(body=st.binary(max_size=300) | mutated(body_of(encode_listing(LISTING))))
def test_any_body_with_the_right_checksum_is_a_listing_or_trouble(body: bytes) -> None:
    listing = total(lambda: decode_listing(wrapped(body, magic=MAGIC), digest_tree(TREE)))

    assert listing is None or (isinstance(listing, Listing) and listing.tree == TREE)


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=300) | mutated(encode_entry(ENTRY)))
def test_any_bytes_are_an_entry_or_trouble(content: bytes) -> None:
    total(lambda: decode_entry(content, KEY))


@settings(max_examples=120, deadline=None)
@given(body=st.binary(max_size=300) | mutated(body_of(encode_entry(ENTRY))))
def test_any_body_with_the_right_checksum_is_an_entry_or_trouble(body: bytes) -> None:
    total(lambda: decode_entry(wrapped(body, magic=entries.MAGIC), KEY))


LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
FLAT = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(st.text(max_size=3), LEAF, max_size=3)
JSON = FLAT | st.lists(FLAT, max_size=3) | st.dictionaries(st.text(max_size=3), FLAT, max_size=3)


@settings(max_examples=120, deadline=None)
@given(name=st.sampled_from(sorted(Result.__dataclass_fields__)), value=JSON)
def test_a_result_with_a_strange_field_is_a_result_or_trouble(name: str, value: object) -> None:
    stored = with_field(name, value)

    one = total(lambda: decode_entry(stored, KEY))

    if isinstance(one, Entry):
        assert results.decode(results.encode(one.result)) == one.result
        assert is_of(TREE, one.result.outputs) in {True, False}


def with_field(name: str, value: object) -> bytes:
    """Return an entry whose result has `value` for a field, its checksum right."""
    import json  # noqa: PLC0415 - for this alone

    fields = json.loads(results.encode(RESULT).partition(b"\n")[2])
    fields[name] = value
    body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    stored = sealed(body, magic=b"mlbuild result 1 ")
    rest = field(b"") + field(b"") + number(0)
    return wrapped(field(stored) + rest, magic=entries.MAGIC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tree", "../../../etc/passwd:3"),
        ("tree", f"{HASH}:-1"),
        ("tree", f"{HASH.upper()}:1"),
        ("tree", f"{HASH}: 1"),
        ("tree", f"{HASH}:{1 << 70}"),
        ("outputs", [["../x", f"f:{HASH}:0"]]),
        ("outputs", [["/x", f"f:{HASH}:0"]]),
        ("outputs", [["a", f"f:{HASH}:0"], ["a", f"f:{HASH}:0"]]),
        ("outputs", [["a", f"l:{HASH}:0"]]),
        ("outputs", [[7, f"f:{HASH}:0"]]),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seconds", -1),
        ("seconds", "1"),
        ("peak_memory", 0.5),
        ("hermetic", 1),
        ("executor", None),
        ("metrics", [1]),
        ("metrics", {"a": float("nan")}),
        ("undeclared", "abc"),
        ("gpus", [1]),
        ("share", "yes"),
    ],
)
def test_a_result_that_cannot_be_is_trouble(name: str, value: object) -> None:
    with pytest.raises(SharedTrouble):
        decode_entry(with_field(name, value), KEY)


def test_deeply_nested_metrics_are_trouble() -> None:
    deep = b'{"metrics":' + b"[" * 200_000
    stored = sealed(deep, magic=b"mlbuild result 1 ")

    with pytest.raises(SharedTrouble):
        decode_entry(wrapped(field(stored) + field(b"") * 2 + number(0), magic=entries.MAGIC), KEY)


# -- a listing that lies


def piece(**fields: object) -> Piece:
    return replace(Piece(HASH, LARGE, LARGE), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lie",
    [
        replace(LISTING, packs=LISTING.packs[:1]),
        replace(LISTING, packs=(*LISTING.packs, LISTING.packs[0])),
        replace(LISTING, packs=(Pack(Piece(HASH, 4, 4), 3), LISTING.packs[1])),
        replace(LISTING, packs=(Pack(Piece(HASH, 0, 0), 0), *LISTING.packs)),
        replace(LISTING, chunks=()),
        replace(LISTING, chunks=(LISTING.chunks[0][:1],)),
        replace(LISTING, chunks=((*LISTING.chunks[0], piece(size=0, stored=0)),)),
        replace(LISTING, chunks=((piece(size=3 * LARGE, stored=3 * LARGE - 1),),)),
        replace(LISTING, chunks=((piece(size=3 * LARGE, stored=4 * LARGE, squeezed=True),),)),
        replace(LISTING, inline=b"0123"),
        replace(INLINE, inline=None),
        replace(INLINE, inline=b"00"),
        replace(INLINE, packs=LISTING.packs),
    ],
)
def test_a_listing_whose_places_do_not_add_up_is_trouble(lie: Listing) -> None:
    with pytest.raises(SharedTrouble):
        decode_listing(encode_listing(lie), digest_tree(lie.tree))


def test_a_listing_of_another_tree_is_trouble() -> None:
    with pytest.raises(SharedTrouble, match="another tree"):
        decode_listing(encode_listing(INLINE), digest_tree(TREE))


@pytest.mark.parametrize(
    "names",
    [["../x"], ["/x"], ["a/../b"], ["a//b"], [""], ["b", "a"], ["a", "a"], ["a", "a/b"], ["a\0"]],
)
def test_a_tree_that_leaves_its_folder_is_trouble(names: list[str]) -> None:
    tree = Tree(tuple(TreeEntry(name, Kind.FILE, digest_of(b"")) for name in names))

    with pytest.raises(SharedTrouble):
        decode_listing(encode_listing(Listing(tree, inline=b"")), digest_tree(tree))


@pytest.mark.parametrize("links", [{"a": "/etc"}, {"a": "../x"}, {"d/up": "..", "l": "d/up/../x"}])
def test_a_link_that_leaves_its_tree_is_trouble(links: dict[str, str]) -> None:
    made = (TreeEntry(path, Kind.SYMLINK, target=target) for path, target in links.items())
    tree = Tree(tuple(sorted(made, key=lambda one: one.path)))

    with pytest.raises(SharedTrouble):
        decode_listing(encode_listing(Listing(tree, inline=b"")), digest_tree(tree))


def test_a_piece_too_large_for_memory_is_trouble() -> None:
    large = Digest(HASH, 4 * PIECE_LIMIT)
    tree = tree_of([TreeEntry("a", Kind.FILE, large)])
    lie = Listing(tree, chunks=((Piece(HASH, large.size, 10, squeezed=True),),))

    with pytest.raises(SharedTrouble, match="cannot be"):
        decode_listing(encode_listing(lie), digest_tree(tree))


# -- bombs


def costs(decode: Callable[[], object]) -> int:
    """Return the bytes of memory that it takes to find the trouble."""
    tracemalloc.start()
    try:
        with pytest.raises(SharedTrouble):
            decode()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BOMB = zstandard.ZstdCompressor(level=1).compress(bytes(40 << 20))


def test_a_frame_that_swells_is_trouble_before_it_takes_memory() -> None:
    endless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20))

    for frame in (BOMB, endless, BOMB[:-1] + b"\0", BOMB + b"\0"):
        assert costs(partial(unsqueeze, frame, size=1000)) < 1 << 20


def test_a_frame_with_more_behind_it_is_trouble() -> None:
    frame = zstandard.ZstdCompressor().compress(b"a" * 1000)

    for more in (b"\0", frame, b"\x50\x2a\x4d\x18\x04\0\0\0abcd"):
        with pytest.raises(SharedTrouble):
            unsqueeze(frame + more, size=1000)


def test_a_listing_or_entry_that_swells_is_trouble_before_it_takes_memory() -> None:
    for magic, decode in (
        (MAGIC, lambda content: decode_listing(content, digest_tree(TREE))),
        (entries.MAGIC, lambda content: decode_entry(content, KEY)),
    ):
        for size in (LIMIT, LIMIT + 1, 40 << 20, 2**32 - 1):
            content = sealed(number(size) + b"\1" + BOMB, magic=magic)

            assert costs(lambda: decode(content)) < 1 << 20  # noqa: B023 - called at once


def test_a_count_that_is_larger_than_what_follows_is_trouble() -> None:
    tree = field(encode_tree())

    for count in (5, 10**6, 2**32 - 1):
        content = wrapped(tree + number(count), magic=MAGIC)

        assert costs(lambda: decode_listing(content, digest_tree(TREE))) < 1 << 20  # noqa: B023


def encode_tree() -> bytes:
    from mlbuild.core.tree import encode  # noqa: PLC0415 - others here are named alike

    return encode(TREE)
