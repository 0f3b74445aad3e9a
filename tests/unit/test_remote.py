"""What a local store keeps about a shared cache, and what a build and its courier say."""

import os
from pathlib import Path

import pytest

from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content, Result
from mlbuild.shared.messages import (
    Bring,
    Brought,
    Found,
    Lookup,
    Message,
    Opening,
    Push,
    Pushed,
    Said,
    Settle,
    Totals,
    packed,
    unpacked,
)
from mlbuild.sharing import Sharing
from mlbuild.store.remote import Remote

KEY = "5" * 64
RESULT = Result((("a.txt", Content("f", digest_of(b"a"))),), digest_of(b"tree"), {"loss": 0.5})


def remote(root: Path, url: str = "file:///shared", **others: object) -> Remote:
    return Remote(str(root), Sharing(url, **others))  # type: ignore[arg-type]


def test_a_remembered_result_is_recalled_until_it_is_forgotten(tmp_path: Path) -> None:
    remote(tmp_path).remember(KEY, RESULT)

    assert remote(tmp_path).recall(KEY) == RESULT
    remote(tmp_path).forget(KEY)
    assert remote(tmp_path).recall(KEY) is None


def test_what_counted_elsewhere_or_with_other_keys_does_not_count(tmp_path: Path) -> None:
    remote(tmp_path).remember(KEY, RESULT)

    others = [
        remote(tmp_path, "file:///other"),
        remote(tmp_path, scope="pr/1"),
        remote(tmp_path, trusted_keys=("mlbuild-ed25519:x:ana",)),
    ]

    assert [one.recall(KEY) for one in others] == [None, None, None]


def test_a_damaged_memory_is_dropped(tmp_path: Path) -> None:
    remote(tmp_path).remember(KEY, RESULT)
    (place,) = (tmp_path / "far").glob("*/*")
    place.write_bytes(place.read_bytes()[:-1])

    assert remote(tmp_path).recall(KEY) is None
    assert not place.exists()


def test_an_upload_is_queued_until_it_is_done(tmp_path: Path) -> None:
    for key in ("b" * 64, "a" * 64, "b" * 64):
        remote(tmp_path).enqueue(key, whole=key[0] == "a")
    assert [remote(tmp_path).is_whole(key * 64) for key in "ab"] == [True, False]
    assert remote(tmp_path).queued() == ["a" * 64, "b" * 64]
    assert remote(tmp_path, "file:///other").queued() == []

    remote(tmp_path).dequeue("a" * 64)

    assert remote(tmp_path).queued() == ["b" * 64]


def test_after_a_failure_uploads_rest_for_a_while(tmp_path: Path) -> None:
    place = remote(tmp_path)
    assert place.has_rested()

    place.note_failure()

    assert not place.has_rested()
    assert place.queued() == []
    os.utime(f"{place.queue}/failed.at", (0, 0))
    assert place.has_rested()


@pytest.mark.parametrize(
    "message",
    [
        Opening("/store", Sharing("s3://b/p", trusted_keys=("k",), token="t")),  # noqa: S106
        Lookup(KEY),
        Bring(KEY, b"facts", RESULT),
        Push(KEY),
        Settle("wait"),
        Found(KEY, RESULT),
        Found(KEY, None),
        Brought(KEY, here=True),
        Pushed(KEY, kept=False),
        Said("text", ("hint",)),
        Totals(1, 2, 3, over=True),
    ],
)
def test_every_message_arrives_as_it_was_sent(message: Message) -> None:
    assert unpacked(packed(message)) == message
