"""Who waits for what from the shared cache: results first, bytes only where they are needed."""

from dataclasses import dataclass, field

import pytest

from mlbuild.core.action import Action, Run, Verify, Write
from mlbuild.core.digest import digest_of
from mlbuild.core.event import Event, Fetched, Fetching
from mlbuild.core.result import Result
from mlbuild.far import Ears
from mlbuild.fetch import Fetch, Gone, Known, Near, Unknown, is_shared

RESULT = Result((), digest_of(b"a tree"), seconds=2.0)


@dataclass
class FakeFar:
    """A shared cache that does what it is told, when it is told."""

    reads: bool = True
    uploads: bool = True
    alive: bool = True
    remembered: dict[str, Result] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    brought: list[str] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)  # pushed without their bytes

    def listen(self, search: Fetch, ears: Ears) -> None:
        self.search, self.ears = search, ears

    def mute(self) -> None:
        pass

    def recall(self, key: str) -> Result | None:
        return self.remembered.get(key)

    def look_up(self, key: str) -> bool:
        self.asked.append(key)
        return self.alive

    def bring(self, key: str, manifest: bytes, *, result: Result) -> bool:
        assert manifest, result
        self.brought.append(key)
        return self.alive

    def push(self, key: str, *, whole: bool) -> None:
        (self.pushed if whole else self.bare).append(key)

    def hear(self) -> None:
        pass


class Deaf:
    """Ears that nobody needs here."""

    def heed(self, answers: int, *, orders: int) -> None:
        pass

    def ignore(self, answers: int) -> None:
        pass


@pytest.fixture
def far() -> FakeFar:
    return FakeFar()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def fetch(far: FakeFar, events: list[Event]) -> Fetch:
    return Fetch(far, ears=Deaf(), dry_run=False, emit=events.append)  # type: ignore[arg-type]


def action(name: str, **run: str) -> Action:
    return Action(f"//:{name}", f"//:{name}", "genrule", Run((), **run))  # type: ignore[arg-type]


def look(fetch: Fetch, name: str, *, wanted: bool = False) -> bool:
    return fetch.look(action(name), f"key {name}", manifest=b"facts", wanted=wanted)


def test_a_result_that_nobody_wants_needs_no_bytes(far: FakeFar, fetch: Fetch) -> None:
    assert look(fetch, "a")
    assert fetch.busy

    fetch.found("key a", RESULT)

    assert list(fetch.news()) == [Known("//:a", "key a", RESULT, "shared")]
    assert far.brought == []
    assert not fetch.busy


def test_a_wanted_result_is_known_when_its_bytes_are_here(
    far: FakeFar, fetch: Fetch, events: list[Event]
) -> None:
    look(fetch, "a", wanted=True)
    fetch.found("key a", RESULT)
    assert list(fetch.news()) == []

    fetch.brought("key a", here=True)

    assert far.brought == ["key a"]
    assert list(fetch.news()) == [Known("//:a", "key a", RESULT, "shared")]
    assert events == [Fetching("//:a", "//:a"), Fetched("//:a", "//:a", here=True)]


def test_a_wanted_result_whose_bytes_are_gone_is_none(fetch: Fetch) -> None:
    look(fetch, "a", wanted=True)
    fetch.found("key a", RESULT)

    fetch.brought("key a", here=False)

    assert list(fetch.news()) == [Unknown("//:a", "key a")]


def test_what_is_remembered_is_not_asked_for(far: FakeFar, fetch: Fetch) -> None:
    far.remembered["key a"] = RESULT

    assert look(fetch, "a")

    assert list(fetch.news()) == [Known("//:a", "key a", RESULT, "local")]
    assert far.asked == []


def test_two_actions_with_one_key_ask_and_bring_once(far: FakeFar, fetch: Fetch) -> None:
    for name in ("a", "b"):
        fetch.look(action(name), "key", manifest=b"facts", wanted=True)

    fetch.found("key", RESULT)
    fetch.brought("key", here=True)

    assert far.asked == far.brought == ["key"]
    assert [news.id for news in fetch.news()] == ["//:a", "//:b"]


def test_an_action_waits_for_all_that_it_reads(far: FakeFar, fetch: Fetch) -> None:
    for name in ("a", "b", "near"):
        look(fetch, name)
        fetch.found(f"key {name}", RESULT if name != "near" else None)
    list(fetch.news())

    waits = fetch.bring("//:user", "key user", makers=["//:a", "//:b", "//:near"])
    fetch.brought("key a", here=True)
    assert list(fetch.news()) == []
    fetch.brought("key b", here=True)

    assert waits
    assert far.brought == ["key a", "key b"]
    assert list(fetch.news()) == [Near("//:user", "key user")]
    assert not fetch.bring("//:other", "key other", makers=["//:a", "//:b"])


def test_all_that_is_lost_is_told_at_once(fetch: Fetch) -> None:
    for name in ("a", "b", "c"):
        look(fetch, name)
        fetch.found(f"key {name}", RESULT)
    list(fetch.news())
    fetch.bring("//:user", "key user", makers=["//:a", "//:b", "//:c"])

    for name, here in (("a", False), ("b", True), ("c", False)):
        fetch.brought(f"key {name}", here=here)

    assert list(fetch.news()) == [Gone("//:user", "key user", frozenset({"//:a", "//:c"}))]


def test_who_waits_when_the_courier_ends_goes_on_without(far: FakeFar, fetch: Fetch) -> None:
    look(fetch, "known")
    fetch.found("key known", RESULT)
    look(fetch, "asked")
    list(fetch.news())
    fetch.bring("//:user", "key user", makers=["//:known"])

    far.alive = False
    fetch.abandoned()

    assert set(fetch.news()) == {
        Unknown("//:asked", "key asked"),
        Gone("//:user", "key user", frozenset({"//:known"})),
    }
    assert not fetch.busy


def test_without_anybody_to_ask_nothing_is_looked_for(far: FakeFar, fetch: Fetch) -> None:
    far.alive = False
    far.remembered["key b"] = RESULT

    assert not look(fetch, "a")
    look(fetch, "b", wanted=True)

    assert list(fetch.news()) == [Unknown("//:b", "key b")]


def test_inputs_that_nobody_can_bring_are_lost_and_not_here(far: FakeFar, fetch: Fetch) -> None:
    for name in ("a", "b"):
        look(fetch, name)
        fetch.found(f"key {name}", RESULT)
    list(fetch.news())
    far.alive = False

    assert fetch.bring("//:user", "key user", makers=["//:a", "//:b"])

    assert list(fetch.news()) == [Gone("//:user", "key user", frozenset({"//:a", "//:b"}))]


def test_a_dry_run_brings_nothing(far: FakeFar) -> None:
    fetch = Fetch(far, ears=Deaf(), dry_run=True, emit=lambda _: None)  # type: ignore[arg-type]

    look(fetch, "a", wanted=True)
    fetch.found("key a", RESULT)

    assert list(fetch.news()) == [Known("//:a", "key a", RESULT, "shared")]
    assert far.brought == []


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (RESULT, True),
        (Result((), RESULT.tree, hermetic=False), False),
        (Result((), RESULT.tree, share=False), False),
    ],
)
def test_only_what_others_may_have_is_sent(
    far: FakeFar, fetch: Fetch, *, result: Result, sent: bool
) -> None:
    fetch.push(action("a"), "key a", result=result)

    assert far.pushed == (["key a"] if sent else [])


def test_bytes_that_nobody_shares_are_made_by_who_needs_them(
    far: FakeFar, fetch: Fetch, events: list[Event]
) -> None:
    maker = action("a", cache="result")
    fetch.push(maker, "key a", result=RESULT)
    fetch.look(maker, "key a", manifest=b"facts", wanted=False)
    fetch.found("key a", RESULT)

    waits = fetch.bring("//:b", "key b", makers=["//:a"])

    assert waits
    assert list(fetch.news()) == [
        Known("//:a", "key a", RESULT, "shared"),
        Gone("//:b", "key b", frozenset({"//:a"})),
    ]
    assert far.bare == ["key a"]
    assert far.brought == []
    assert events == []
    assert not fetch.look(maker, "key a", manifest=b"facts", wanted=True)


def test_the_target_decides_whether_it_is_shared(far: FakeFar, fetch: Fetch) -> None:
    local = action("a", cache="local")

    fetch.push(local, "key a", result=RESULT)

    assert far.pushed == []
    assert not fetch.look(local, "key a", manifest=b"facts", wanted=True)
    assert is_shared(action("a"))
    assert not is_shared(action("a", cache="off"))
    assert is_shared(Action("a", "a", "write", Write("text")))
    assert not is_shared(Action("a", "a", "verify", Verify("blake3:")))
