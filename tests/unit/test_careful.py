"""A shared cache in trouble: how often it is asked, what is said, and when it is left alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Result
from mlbuild.core.tree import Tree, digest_tree
from mlbuild.shared.base import SharedTrouble, Traffic
from mlbuild.shared.breaker import FAILURES, LONGEST_REST, REST_SECONDS, Breaker
from mlbuild.shared.careful import Careful
from mlbuild.shared.patience import GivenUp, Patience
from mlbuild.shared.quarantine import KEPT, Quarantine

EMPTY = Tree(())
RESULT = Result((), digest_tree(EMPTY))
LOST = SharedTrouble("unreachable", "`http://far` cannot be reached", cure="check the network")
DENIED = SharedTrouble("denied", "the credentials may not s3:PutObject on `team`", cure="allow it")


@dataclass
class Clock:
    """Time that passes when somebody sleeps, or when it is told to."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Moody:
    """A Shared that has one result and one tree, or trouble."""

    trouble: SharedTrouble | None = None
    asked: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    before: Callable[[], None] = lambda: None

    def answer(self) -> None:
        self.asked += 1
        self.before()
        if self.trouble is not None:
            raise self.trouble

    def lookup(self, key: str) -> Result | None:
        self.answer()
        return RESULT if key == "known" else None

    def publish(self, key: str, result: Result, *, manifest: bytes) -> Result:
        del key, manifest
        self.answer()
        return result

    def manifest(self, key: str) -> bytes | None:
        self.answer()
        return key.encode()

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        del digests
        self.answer()
        return set()

    def put(self, content: bytes) -> Digest:
        self.answer()
        return digest_of(content)

    def read(self, digest: Digest) -> bytes | None:
        del digest
        self.answer()
        return b"bytes"

    def put_file(self, path: str, digest: Digest) -> None:
        del path, digest
        self.answer()

    def fetch(self, digest: Digest, to: str) -> bool:
        del digest
        self.answer()
        Path(to).write_bytes(b"bytes")
        return True

    def send_tree(self, tree: Tree, folder: str) -> None:
        del tree, folder
        self.answer()

    def bring_tree(self, digest: Digest, folder: str) -> Tree | None:
        del digest
        assert not list(Path(folder).iterdir()), "a tree is brought into an empty folder"
        Path(folder, "half").mkdir()
        self.answer()
        return EMPTY

    def close(self) -> None:
        pass


@dataclass
class Scene:
    """A careful cache over a moody one, and what was said."""

    clock: Clock = field(default_factory=Clock)
    moody: Moody = field(default_factory=Moody)
    said: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.patience = Patience(
            attempts=3, seconds=5.0, jitter=lambda: 0.5, clock=self.clock, sleep=self.clock.sleep
        )
        self.careful = Careful(
            self.moody,
            say=lambda text, hints: self.said.append((text, hints)),
            patience=self.patience,
            clock=self.clock,
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_without_trouble_everything_passes_through(scene: Scene, tmp_path: Path) -> None:
    careful, digest = scene.careful, digest_of(b"bytes")

    assert careful.lookup("known") == RESULT
    assert careful.lookup("unknown") is None
    assert careful.manifest("known") == b"known"
    assert careful.missing([digest]) == set()
    assert careful.read(digest) == b"bytes"
    assert careful.fetch(digest, str(tmp_path / "to"))
    assert careful.put(b"bytes") == digest
    assert careful.publish("key", RESULT, manifest=b"") == RESULT
    assert (scene.said, careful.lost.total()) == ([], 0)


def test_in_trouble_reading_finds_nothing(scene: Scene, tmp_path: Path) -> None:
    scene.moody.trouble = DENIED
    careful, digest = scene.careful, digest_of(b"bytes")

    assert careful.lookup("known") is None
    assert careful.manifest("known") is None
    assert careful.missing([digest]) == {digest}
    assert careful.read(digest) is None
    assert not careful.fetch(digest, str(tmp_path / "to"))
    assert careful.bring_tree(digest, str(tmp_path)) is None
    assert careful.lost.total() == 7  # the tree twice: why, and that it did not come


def test_in_trouble_writing_says_so_to_its_caller(scene: Scene) -> None:
    scene.moody.trouble = DENIED

    for write in (
        lambda: scene.careful.put(b"bytes"),
        lambda: scene.careful.put_file("/a", digest_of(b"")),
        lambda: scene.careful.send_tree(EMPTY, "/a"),
        lambda: scene.careful.publish("key", RESULT, manifest=b""),
    ):
        with pytest.raises(SharedTrouble):
            write()


def test_trouble_that_passes_is_not_noticed(scene: Scene) -> None:
    scene.moody.trouble = LOST
    scene.moody.before = lambda: setattr(
        scene.moody, "trouble", LOST if scene.moody.asked < 3 else None
    )

    assert scene.careful.lookup("known") == RESULT

    assert scene.said == []
    assert scene.clock.slept == [0.1, 0.2]  # twice as long each time, and half of it by lot


def test_a_tree_is_tried_again_in_an_empty_folder(scene: Scene, tmp_path: Path) -> None:
    scene.moody.trouble = LOST
    scene.moody.before = lambda: setattr(
        scene.moody, "trouble", LOST if scene.moody.asked < 2 else None
    )

    assert scene.careful.bring_tree(digest_tree(EMPTY), str(tmp_path)) == EMPTY


@pytest.mark.parametrize("kind", ["denied", "damaged", "full", "refused", "readonly"])
def test_what_will_not_pass_is_not_tried_again(scene: Scene, kind: str) -> None:
    scene.moody.trouble = SharedTrouble(kind, "so it is")

    scene.careful.lookup("known")

    assert scene.moody.asked == 1


def test_what_was_given_up_further_down_is_not_tried_again(scene: Scene) -> None:
    scene.moody.trouble = GivenUp("slow", "three times in vain")

    scene.careful.lookup("known")

    assert scene.moody.asked == 1


def test_no_attempt_begins_after_the_time_is_over(scene: Scene) -> None:
    scene.moody.trouble = LOST
    scene.moody.before = lambda: scene.clock.sleep(6.0)

    scene.careful.lookup("known")

    assert scene.moody.asked == 1


def test_each_cause_is_said_once_with_its_cure(scene: Scene) -> None:
    scene.moody.trouble = DENIED

    for _ in range(5):
        scene.careful.lookup("known")
        with pytest.raises(SharedTrouble):
            scene.careful.put(b"bytes")

    assert scene.said == [
        (f"the shared cache: {DENIED.message}; the build goes on without it", ("allow it",)),
        (
            f"the shared cache: {DENIED.message}; results stay on this machine for now",
            ("allow it",),
        ),
    ]


def test_after_a_few_failures_nothing_is_asked_any_more(scene: Scene) -> None:
    scene.moody.trouble = LOST

    for _ in range(20):
        assert scene.careful.lookup("known") is None

    assert scene.moody.asked == FAILURES * scene.patience.attempts
    assert scene.careful.lost == {"unreachable": FAILURES, "resting": 20 - FAILURES}


def test_reading_goes_on_where_only_writing_is_denied(scene: Scene) -> None:
    scene.moody.trouble = DENIED
    with pytest.raises(SharedTrouble):
        scene.careful.put(b"bytes")

    scene.moody.trouble = None

    assert scene.careful.lookup("known") == RESULT


def test_after_a_rest_one_trial_decides(scene: Scene) -> None:
    scene.moody.trouble = DENIED
    scene.careful.lookup("known")
    scene.moody.trouble = None
    assert scene.careful.lookup("known") is None

    scene.clock.now += REST_SECONDS

    assert scene.careful.lookup("known") == RESULT


def test_wrong_bytes_do_not_stop_the_reading_of_others(scene: Scene) -> None:
    scene.moody.trouble = SharedTrouble("damaged", "too long")
    for _ in range(2 * FAILURES):
        scene.careful.read(digest_of(b"bytes"))

    scene.moody.trouble = None

    assert scene.careful.read(digest_of(b"bytes")) == b"bytes"


# -- the breaker


def test_a_breaker_lets_one_try_after_each_rest_and_rests_longer() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    breaker.failed(0.0, final=True)
    assert not breaker.admits()

    clock.now += REST_SECONDS
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.failed(0.0)

    clock.now += REST_SECONDS
    assert not breaker.admits()
    clock.now += REST_SECONDS
    assert breaker.admits()


def test_a_breaker_never_rests_for_ever() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    breaker.failed(0.0, final=True)

    for _ in range(50):
        clock.now += LONGEST_REST
        assert breaker.admits()
        breaker.failed(0.0)


def test_an_attempt_that_took_long_is_enough() -> None:
    breaker = Breaker(clock=Clock())

    breaker.failed(15.0)

    assert not breaker.admits()


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = Breaker(clock=Clock())

    for _ in range(10):
        breaker.failed(1.0)
        breaker.worked()

    assert breaker.admits()


# -- the quarantine


def test_wrong_bytes_are_kept_for_somebody_to_look_at(tmp_path: Path) -> None:
    said: list[str] = []
    quarantine = Quarantine(
        str(tmp_path / "q"), say=lambda text, hints: said.append(text + hints[0])
    )

    quarantine.report("main/packs/ab/one", b"wrong", "it is of another key")
    quarantine.report("main/packs/ab/two", b"wrong", "it is of another key")

    assert [path.read_bytes() for path in (tmp_path / "q").iterdir() if not path.suffix] == [
        b"wrong",
        b"wrong",
    ]
    (text,) = said
    assert "`main/packs/ab/one`: it is of another key" in text
    assert str(tmp_path / "q") in text
    assert quarantine.reported == 2


def test_a_quarantine_does_not_grow_for_ever(tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path), say=lambda *_: None)

    for number in range(3 * KEPT):
        quarantine.report(f"{number}", b"wrong", "wrong")

    assert len(list(tmp_path.iterdir())) == 2 * KEPT
    assert quarantine.reported == 3 * KEPT


def test_a_quarantine_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    quarantine = Quarantine(str(tmp_path / "file" / "q"), say=lambda *_: None)

    quarantine.report("name", b"wrong", "wrong")

    assert quarantine.reported == 1
