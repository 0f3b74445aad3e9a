"""Progress: told once it takes long, now and then, and all of it."""

from pathlib import Path

import pytest
from blake3 import blake3

from mlbuild import columns, hashing, progress
from mlbuild.hashing import RECORD, hash_batches, hash_file, hash_files
from mlbuild.progress import Progress
from mlbuild.stamps import StatIndex

HASH = slice(1 + columns.WIDTH, RECORD)


class Told:
    """Keeps what it is told; its clock moves by `step` seconds with every look."""

    def __init__(self, step: float) -> None:
        self.words: list[tuple[int, int]] = []
        self._now = 0.0
        self._step = step

    def __call__(self, files: int, size: int) -> None:
        self.words.append((files, size))

    def clock(self) -> float:
        self._now += self._step
        return self._now

    def progress(self) -> Progress:
        return Progress(self, clock=self.clock)


def test_nothing_is_told_of_what_is_quick_then_a_few_times_a_second() -> None:
    told = Told(step=0.125)
    counted = told.progress()

    for _ in range(12):
        counted.add(2, 10)

    # The clock stands at 0.125 when it begins, and moves by 0.125 with every word.
    assert told.words == [(8, 40), (12, 60), (16, 80), (20, 100), (24, 120)]


def test_all_files_are_counted_one_by_one_and_in_processes(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(450)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes(number))
    total = sum(range(450))
    alone, together = Told(step=1), Told(step=1)

    found = hash_files(str(tmp_path), names, progress=alone.progress())
    (batch,) = hash_batches([(str(tmp_path), names)], progress=together.progress())

    assert found == batch == hash_files(str(tmp_path), names)
    assert alone.words[-1] == together.words[-1] == (450, total)
    assert [files for files, _ in alone.words] == [200, 400, 450]


def test_a_very_large_file_is_told_of_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "PIECE", 1000)
    sizes = [999, 1000, 1001, 3500, 4000]
    for size in sizes:
        (tmp_path / str(size)).write_bytes(bytes(size))
    told = Told(step=1)

    records = hash_files(str(tmp_path), [str(size) for size in sizes], progress=told.progress())

    assert [record[HASH] for record in records] == [blake3(bytes(size)).digest() for size in sizes]
    assert told.words[-1] == (len(sizes), sum(sizes))
    assert len(told.words) > 9  # a word for each full piece at least
    assert hash_file(str(tmp_path / "3500")) == records[3]


def test_what_is_known_is_not_told_of(tmp_path: Path) -> None:
    (tmp_path / "data/below").mkdir(parents=True)
    for name in ("data/a", "data/below/b", "lone"):
        (tmp_path / name).write_bytes(b"12345")
    index = StatIndex.open(str(tmp_path))
    first, second = Told(step=1), Told(step=1)

    for told in (first, second):
        counted = told.progress()
        index.files(["lone"], progress=counted)
        index.tree("data", progress=counted)

    assert first.words[-1] == (3, 15)
    assert second.words == []


def test_the_words_are_at_most_five_a_second() -> None:
    assert progress.EVERY >= 0.2
    assert progress.PATIENCE >= 0.5
