"""How contents become packs and chunks, what is known of them, and the threads that carry them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbuild.core.digest import Digest, digest_of
from mlbuild.shared import chunks
from mlbuild.shared.chunks import Cuts, best_cuts, chunks_of, fixed_cuts
from mlbuild.shared.known import DAYS, Known
from mlbuild.shared.lanes import Errand, Lanes
from mlbuild.shared.packs import MOST, opened, pack_id, packed
from mlbuild.shared.recent import Recent

NOISE = Random(5).randbytes(30_000_000)  # noqa: S311 - reproducible on purpose
DAY = 24 * 3600 * 10**9


def contents(number: int, size: int) -> list[Digest]:
    return [Digest(digest_of(b"%d" % at).hash, size) for at in range(number)]


# -- packs


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, (1 << 20) - 1), max_size=60))
def test_packs_hold_every_content_once_and_in_order(sizes: list[int]) -> None:
    every = [Digest(digest_of(b"%d" % at).hash, size) for at, size in enumerate(sizes)]

    groups = list(packed(every))

    assert [content for group in groups for content in group] == every
    assert all(group for group in groups)
    assert all(sum(content.size for content in group) <= MOST for group in groups)


def test_packs_are_of_a_handy_size() -> None:
    groups = list(packed(contents(5000, 20 * 1024)))

    assert 8 <= len(groups) <= 25
    assert len(list(packed(contents(50_000, 0)))) == 3


@pytest.mark.parametrize("at", [0, 1234, 4999])
def test_a_change_of_one_content_changes_the_packs_around_it_only(at: int) -> None:
    before = contents(5000, 20 * 1024)
    changed = [*before[:at], Digest(digest_of(b"changed").hash, 30_000), *before[at + 1 :]]
    inserted = [*before[:at], Digest(digest_of(b"new").hash, 30_000), *before[at:]]

    known = {pack_id(group) for group in packed(before)}

    for after in (changed, inserted):
        assert len({pack_id(group) for group in packed(after)} - known) <= 3


def test_the_name_of_a_pack_is_of_what_is_in_it() -> None:
    one, two, three = contents(3, 5)

    names = {pack_id(group) for group in ([one], [one, two], [two, one], [one, two, three])}

    assert len(names) == 4
    assert [bytes(found) for _, found in opened(b"aaaaabbbbb", [one, two])] == [b"aaaaa", b"bbbbb"]


# -- chunks


def read(at: int, size: int) -> bytes:
    return NOISE[at : at + size]


def in_small_windows(monkeypatch: pytest.MonkeyPatch, cuts: Cuts, size: int) -> list[bytes]:
    monkeypatch.setattr(chunks, "_WINDOW", 8 << 20)
    return list(chunks_of(read, size, cuts=cuts))


@pytest.mark.parametrize("cuts", [best_cuts(), fixed_cuts])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1, len(NOISE)])
def test_chunks_are_the_whole_and_the_same_for_every_window(
    monkeypatch: pytest.MonkeyPatch, cuts: Cuts, size: int
) -> None:
    found = list(chunks_of(read, size, cuts=cuts))

    assert b"".join(found) == NOISE[:size]
    assert all(0 < len(chunk) <= chunks.MOST for chunk in found)
    assert in_small_windows(monkeypatch, cuts, size) == found


def test_chunks_behind_an_insertion_are_found_again() -> None:
    shifted = NOISE[:5_000_000] + b"inserted" + NOISE[5_000_000:]

    before = set(chunks_of(read, len(NOISE), cuts=best_cuts()))
    after = list(chunks_of(lambda at, n: shifted[at : at + n], len(shifted), cuts=best_cuts()))

    assert best_cuts() is not fixed_cuts
    assert sum(len(chunk) for chunk in after if chunk not in before) < 14 << 20


def test_a_file_that_became_shorter_gives_less() -> None:
    found = list(chunks_of(lambda at, n: NOISE[:9_000_000][at : at + n], 20 << 20, cuts=fixed_cuts))

    assert b"".join(found) == NOISE[:9_000_000]


# -- lanes


def test_answers_come_in_the_order_of_the_errands() -> None:
    gate = threading.Event()

    def first() -> int:
        assert gate.wait(10)
        return 0

    def second() -> int:
        gate.set()
        return 1

    lanes = Lanes(threads=2)
    assert lanes.all(iter([Errand(first, cost=1), Errand(second, cost=1)])) == [0, 1]
    lanes.close()


def test_no_more_is_held_than_there_is_room_for() -> None:
    lanes, held, most, door = Lanes(threads=8, room=10), [0], [0], threading.Lock()

    def errands() -> Iterator[Errand[int]]:
        for cost in [3, 4, 5, 2, 9, 1, 1, 8] * 20:
            yield Errand(lambda cost=cost: carry(cost), cost=cost)  # type: ignore[misc]

    def carry(cost: int) -> int:
        with door:
            held[0] += cost
            most[0] = max(most[0], held[0])
        return cost

    for cost in lanes.in_order(errands()):
        with door:
            held[0] -= cost

    assert most[0] <= 10 + 9  # the answer at hand is the caller's
    lanes.close()


def test_what_is_larger_than_all_room_goes_alone() -> None:
    lanes = Lanes(threads=2, room=10)

    assert lanes.all(Errand(lambda: 1, cost=50) for _ in range(5)) == [1] * 5
    lanes.close()


def test_an_error_ends_it_and_gives_the_room_back() -> None:
    lanes = Lanes(threads=2, room=10)

    def fail() -> int:
        raise LookupError

    for _ in range(3):
        with pytest.raises(LookupError):
            lanes.all(Errand(fail if at == 7 else int, cost=4) for at in range(20))

    assert lanes.all(Errand(lambda: 1, cost=10) for _ in range(3)) == [1] * 3
    lanes.close()


def test_many_callers_share_the_room_and_none_waits_for_ever() -> None:
    lanes, answers = Lanes(threads=3, room=10), []

    def call() -> None:
        answers.append(sum(lanes.all(Errand(lambda: 1, cost=4) for _ in range(50))))

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)

    assert answers == [50] * 6
    lanes.close()


# -- what is known


def test_what_is_known_is_known_by_the_next_process(tmp_path: Path) -> None:
    first = Known(str(tmp_path / "memo"))
    first.add({"main/packs/ab/x": 5, "main/chunks/ab/y.zst": 7})
    first.add({"main/packs/ab/x": 5})

    second = Known(str(tmp_path / "memo"))

    assert second.size("main/packs/ab/x") == 5
    assert second.size("main/chunks/ab/y.zst") == 7
    assert second.size("main/packs/ab/z") is None


def test_what_was_known_is_forgotten_after_some_days(tmp_path: Path) -> None:
    folder = str(tmp_path / "memo")
    Known(folder, now=lambda: 100 * DAY).add({"main/a": 1})

    assert Known(folder, now=lambda: (100 + DAYS - 1) * DAY).size("main/a") == 1
    assert Known(folder, now=lambda: 99 * DAY).size("main/a") is None  # a clock set back
    Known(folder, now=lambda: 100 * DAY).add({"main/a": 1})
    assert Known(folder, now=lambda: (100 + DAYS) * DAY).size("main/a") is None
    assert os.listdir(folder) == []


def test_a_broken_tree_makes_all_forgotten_and_is_remembered_until_mended(tmp_path: Path) -> None:
    first = Known(str(tmp_path))
    first.add({"main/a": 1})

    first.forget(broken="ab" * 32)

    second = Known(str(tmp_path))
    assert second.size("main/a") is None
    assert second.is_broken("ab" * 32)
    second.mend("ab" * 32)
    assert not Known(str(tmp_path)).is_broken("ab" * 32)


def test_a_memo_that_is_damaged_or_cannot_be_kept_only_costs_time(tmp_path: Path) -> None:
    known = Known(str(tmp_path))
    known.add({"main/a": 1, "main/b": 2})
    (day,) = tmp_path.iterdir()
    day.write_bytes(b"+ main/a x\n\xff\xfe\0\n" + day.read_bytes()[:-1] + b"\n! nonsense\n+ m")
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")

    assert Known(str(tmp_path)).size("main/b") == 2
    silent = Known(str(blocked))
    silent.add({"main/a": 1})
    silent.forget(broken="ab" * 32)
    assert silent.size("main/a") is None
    assert silent.is_broken("ab" * 32)


# -- what is at hand


def test_what_was_not_used_for_longest_goes_first() -> None:
    recent: Recent[str, bytes] = Recent(10)
    recent.keep("a", b"aaaa", weight=4)
    recent.keep("b", b"bbbb", weight=4)
    assert recent.find("a") == b"aaaa"

    recent.keep("c", b"cccc", weight=4)
    recent.keep("c", b"ccc", weight=3)
    recent.keep("huge", b"h" * 11, weight=11)

    assert recent.find("huge") is None
    recent.keep("d", b"d" * 10, weight=10)
    assert recent.find("d") == b"d" * 10
    assert recent.find("a") is None
    recent.drop("d")
    recent.drop("d")
    recent.keep("e", b"e" * 10, weight=10)
    assert recent.find("e") == b"e" * 10
