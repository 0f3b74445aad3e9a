"""The notes of jobs that were started elsewhere, and how people name them."""

import json
import os
import time
from pathlib import Path

import pytest

from mlbuild.cli.candidates import Command, Place, candidates
from mlbuild.errors import InputError
from mlbuild.remote.jobs.book import KEPT, Book, Note
from mlbuild.remote.jobs.lookout import Sighting, chosen
from mlbuild.remote.state import Fault, State

NET = Note("ab12cd" + "0" * 58, "//:net", "7c" * 32, "gpubox", "gpu1", 1000.0, 17, "/ws", "/log")
WIDE = Note("cd34ef" + "0" * 58, "//models:wide", "9e" * 32, "gpubox", "gpu1", 900.0)


def seen(note: Note, phase: str = "running", fault: Fault | None = None) -> Sighting:
    return Sighting(note, State(phase, "a1", fault=fault))


def test_notes_are_read_as_they_were_written_the_oldest_first(tmp_path: Path) -> None:
    book = Book(str(tmp_path / "jobs"))

    book.write(NET)
    book.write(WIDE)

    assert list(book.notes()) == [WIDE, NET]
    assert book.note(NET.id) == NET


def test_a_note_is_gone_when_it_is_forgotten(tmp_path: Path) -> None:
    book = Book(str(tmp_path))
    book.write(NET)

    book.forget(NET.id)
    book.forget(NET.id)

    assert list(book.notes()) == []
    assert os.listdir(tmp_path) == []


def test_a_book_without_a_folder_keeps_nothing() -> None:
    book = Book()

    book.write(NET)
    book.forget(NET.id)

    assert list(book.notes()) == []


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "3", '{"id": 3}', '{"id": "a", "label": "x"}', "\x00"]
)
def test_what_is_no_note_is_passed_over(tmp_path: Path, content: str) -> None:
    book = Book(str(tmp_path))
    book.write(NET)

    (tmp_path / "damaged").write_text(content)
    (tmp_path / "folder").mkdir()

    assert list(book.notes()) == [NET]


def test_a_note_of_a_newer_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    book = Book(str(tmp_path))
    book.write(NET)
    said = json.loads((tmp_path / NET.id).read_text())

    (tmp_path / NET.id).write_text(json.dumps({**said, "colour": "green"}))

    assert book.note(NET.id) == NET


def test_notes_that_are_too_old_go(tmp_path: Path) -> None:
    book = Book(str(tmp_path))
    book.write(NET)
    book.write(WIDE)
    then = time.time() - KEPT - 60
    os.utime(tmp_path / WIDE.id, (then, then))

    assert list(book.notes()) == [NET]
    assert os.listdir(tmp_path) == [NET.id]


@pytest.mark.parametrize(
    ("word", "package", "expected"),
    [
        ("//:net", "", [NET]),
        ("net", "", [NET]),
        (":wide", "models", [WIDE]),
        ("ab12cd", "", [NET]),
        ("9e9e9e9e", "", [WIDE]),
        ("ab12c", "", []),
        ("ffffff", "", []),
        ("//:other", "", []),
    ],
)
def test_a_job_is_named_by_label_key_or_order(
    word: str, package: str, expected: list[Note]
) -> None:
    found = chosen(word, [seen(NET), seen(WIDE)], package=package)

    assert [one.note for one in found] == expected


def test_a_word_that_can_be_no_label_is_refused() -> None:
    with pytest.raises(InputError):
        chosen("@rules//:x", [], package="")


def test_what_is_pending_goes_on_or_waits_for_somebody_to_take_it() -> None:
    outage = Fault("outage", "the disk is full")

    pending = {
        "running": seen(NET).is_pending,
        "ended": seen(NET, "ended").is_pending,
        "lost": seen(NET, "lost").is_pending,
        "failed": seen(NET, "failed", outage).is_pending,
        "taken": seen(NET, "taken").is_pending,
        "cancelled": seen(NET, "cancelled").is_pending,
    }

    assert [name for name, is_so in pending.items() if is_so] == [
        "running",
        "ended",
        "lost",
        "failed",
    ]


def test_jobs_are_offered_where_one_may_stand() -> None:
    place = Place("/ws", "", jobs=lambda: ["//:net", "ab12cd000000"])
    takes = Command(words="LABEL | KEY | JOB")

    found = candidates(["attach", ""], commands=["attach"], usage=lambda _: takes, place=place)

    assert found == ["//:net", "ab12cd000000"]
