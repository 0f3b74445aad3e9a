"""A shared cache behind a way that does harm: a correct answer, or a miss that is counted."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, digest_tree, tree_of
from mlbuild.shared.base import Bucket, SharedTrouble
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.careful import Careful
from mlbuild.shared.patience import Patience, PatientBucket
from mlbuild.shared.place import place_of
from mlbuild.shared.quarantine import Quarantine
from mlbuild.shared.s3 import S3Bucket
from tests.harness import REPOSITORY
from tests.proxy import Fault, Proxy, of, proxy
from tests.servers import ObjectServer

QUICK = Patience(attempts=3, seconds=5.0, jitter=lambda: 0.001)
NUMBERS = count()


@dataclass(frozen=True)
class Made:
    """Something that was built: its files lie in `folder`."""

    key: str
    folder: Path
    tree: Tree
    result: Result


@dataclass
class Machine:
    """One machine's way to the shared cache, and what its user is told."""

    bucket: Bucket
    folder: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.quarantine = Quarantine(str(self.folder / "quarantine"), say=self.say)
        cache = BucketCache(self.bucket, report=self.quarantine.report)
        self.cache = Careful(cache, say=self.say, patience=QUICK)

    def say(self, text: str, hints: tuple[str, ...]) -> None:
        self.said.append(" ".join((text, *hints)))

    def push(self, made: Made) -> Result:
        """Send what was built; raises SharedTrouble."""
        self.cache.send_tree(made.tree, str(made.folder))
        return self.cache.publish(made.key, made.result, manifest=b"facts")

    def pull(self, made: Made) -> bool | None:
        """Return whether exactly what was built came, None for a miss."""
        found = self.cache.lookup(made.key)
        if found is None:
            return None
        into = self.folder / f"tree-{next(NUMBERS)}"
        into.mkdir()
        tree = self.cache.bring_tree(found.tree, str(into))
        if tree is None:
            return None
        return (found, tree) == (made.result, made.tree) and all(
            (into / entry.path).read_bytes() == (made.folder / entry.path).read_bytes()
            for entry in tree.entries
        )


@dataclass
class Team:
    """Machines with one bucket, all behind one proxy."""

    bucket: Bucket
    way: Proxy
    root: Path

    def machine(self) -> Machine:
        return Machine(self.bucket, self.root / f"machine-{next(NUMBERS)}")

    def built(self, word: str = "") -> Made:
        """Return a new result: a large file, a pack of small files, and an empty one."""
        word = word or f"{next(NUMBERS)}"
        folder = self.root / f"built-{next(NUMBERS)}"
        folder.mkdir()
        lines = (f"{word} {number:011}\n" for number in range(90_000))
        (folder / "large").write_text("".join(lines))
        (folder / "empty").write_bytes(b"")
        for number in range(6):
            hashes = (digest_of(f"{word} {number} {n}".encode()).hash for n in range(300))
            (folder / f"small-{number}").write_text("".join(hashes))
        files = [
            Entry(path.name, Kind.FILE, digest_of(path.read_bytes())) for path in folder.iterdir()
        ]
        tree = tree_of(files)
        outputs = tuple((entry.path, Content("f", digest)) for entry, digest in tree.files())
        key = digest_of(f"{self.root}{word}".encode()).hash
        return Made(key, folder, tree, Result(outputs, digest_tree(tree), seconds=1.0))

    def shared(self) -> Made:
        """Return a new result that a machine has pushed; the proxy then counts anew."""
        made = self.built()
        self.machine().push(made)
        self.way.forget()
        return made


@pytest.fixture(scope="module")
def way(weed: ObjectServer) -> Iterator[Proxy]:
    with proxy(weed.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def bucket(way: Proxy, weed: ObjectServer) -> Iterator[Bucket]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        weed.use(monkeypatch)
        place = place_of(weed.behind(way.endpoint).url(weed.prefix()))
        made = PatientBucket(S3Bucket(place, threads=16, idle_seconds=0.5), QUICK)
        made.remove([])
        made.read("nothing")
        yield made
        made.close()


@pytest.fixture
def team(bucket: Bucket, way: Proxy, tmp_path: Path) -> Team:
    way.forget()
    return Team(bucket, way, tmp_path)


READING = [
    Fault("status", 500),
    Fault("status", 403, content=b"<Error><Code>AccessDenied</Code></Error>"),
    Fault("reset"),
    Fault("lost"),
    Fault("truncate", 100),
    Fault("stall", 100),
    Fault("flip", 0),
    Fault("flip", 300),
    Fault("longer", 1 << 20),
    Fault("body", content=b"<html>please log in</html>"),
    Fault("body", content=b""),
]


def named(fault: Fault) -> str:
    return f"{fault.kind}-{fault.number}"


@pytest.mark.parametrize("fault", READING, ids=named)
def test_a_lookup_in_trouble_is_a_counted_miss(team: Team, fault: Fault) -> None:
    made, machine = team.shared(), team.machine()
    team.way.faults.append(replace(fault, hits=of("GET", "/ac/")))

    assert machine.cache.lookup(made.key) is None

    assert machine.cache.lost.total() + machine.quarantine.reported >= 1
    assert len(machine.said) == 1
    team.way.forget()
    assert team.machine().pull(made)


@pytest.mark.parametrize("part", ["/packs/", "/chunks/"])
@pytest.mark.parametrize("fault", READING, ids=named)
def test_bytes_in_trouble_are_a_counted_miss(team: Team, fault: Fault, part: str) -> None:
    made, machine = team.shared(), team.machine()
    team.way.faults.append(replace(fault, hits=of("GET", part)))

    assert machine.pull(made) is None

    assert machine.cache.lost["gone"] == 1
    assert len(machine.said) == 1
    team.way.forget()
    assert team.machine().pull(made)


@pytest.mark.parametrize("fault", [f for f in READING if f.number != 403], ids=named)
def test_a_fault_that_passes_costs_time_or_a_miss(team: Team, fault: Fault) -> None:
    made, machine = team.shared(), team.machine()
    team.way.faults.append(replace(fault, hits=of("GET"), times=1))

    found = machine.pull(made)

    # Where the server says that something is wrong it is asked again; wrong bytes are built anew.
    assert found or (found is None and fault.kind in {"flip", "longer", "body"})
    assert team.machine().pull(made)


@pytest.mark.parametrize("kind", ["status", "reset", "lost", "spoil"])
def test_an_upload_outlives_a_fault_that_passes(team: Team, kind: str) -> None:
    made, machine = team.built(), team.machine()
    team.way.faults.append(Fault(kind, 500, hits=of("PUT"), after=1, times=1))

    machine.push(made)

    assert machine.said == []
    assert team.machine().pull(made)


@pytest.mark.parametrize("part", ["/ac/", "/packs/", "/chunks/"])
@pytest.mark.parametrize("kind", ["status", "reset", "lost", "spoil"])
def test_an_upload_in_trouble_is_known_to_be_undone(team: Team, kind: str, part: str) -> None:
    made, machine = team.built(), team.machine()
    team.way.faults.append(Fault(kind, 500, hits=of("PUT", part)))

    with pytest.raises(SharedTrouble):
        machine.push(made)

    assert len(machine.said) == 1
    team.way.forget()
    assert team.machine().pull(made) in {None, kind == "lost"}  # the entry came, its answer did not
    team.machine().push(made)
    assert team.machine().pull(made)


def test_credentials_that_expire_in_mid_upload_are_told_and_nothing_is_half_there(
    team: Team,
) -> None:
    made, machine = team.built(), team.machine()
    expired = b"<Error><Code>ExpiredToken</Code><Message>no</Message></Error>"
    team.way.faults.append(Fault("status", 400, content=expired, hits=of("PUT"), after=1))

    with pytest.raises(SharedTrouble):
        machine.push(made)

    (text,) = machine.said
    assert "have expired" in text
    assert "aws sso login" in text
    team.way.forget()
    assert team.machine().pull(made) is None


def test_an_outage_costs_a_few_requests_and_one_warning(team: Team) -> None:
    machine = team.machine()
    team.way.vanish()

    found = [machine.cache.lookup(digest_of(b"%d" % number).hash) for number in range(50)]

    assert found == [None] * 50
    assert machine.cache.lost.total() == 50
    assert machine.cache.lost["unreachable"] <= 3
    assert len(machine.said) == 1


def test_a_clock_an_hour_off_is_named(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime as dt  # noqa: PLC0415 - for this one

    import botocore.auth  # noqa: PLC0415 - likewise

    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda *words: now(*words) + dt.timedelta(hours=1),
    )
    made, machine = team.built(), team.machine()

    assert machine.cache.lookup(made.key) is None

    (text,) = machine.said
    assert "clock" in text


def test_a_bucket_that_is_emptied_in_between_is_a_miss_and_heals(team: Team) -> None:
    made, machine = team.shared(), team.machine()
    found = machine.cache.lookup(made.key)
    team.bucket.remove([entry.name for entry in team.bucket.names("")])
    into = team.root / "into"
    into.mkdir()

    assert found is not None
    assert machine.cache.bring_tree(found.tree, str(into)) is None

    assert machine.cache.lost["gone"] == 1
    machine.push(made)  # it was built anew
    assert team.machine().pull(made)


def test_a_bucket_that_lost_the_bytes_but_not_the_entry_heals(team: Team) -> None:
    made, machine = team.shared(), team.machine()
    lost = [o.name for o in team.bucket.names("") if "/packs/" in o.name or "/chunks/" in o.name]
    team.bucket.remove(lost)
    assert machine.pull(made) is None

    machine.push(made)

    assert team.machine().pull(made)


def test_of_two_machines_that_publish_at_once_both_use_the_first(team: Team) -> None:
    made = team.built()
    one, other = made, replace(made, result=replace(made.result, seconds=2.0))
    together = threading.Barrier(2)

    def publish(machine: Machine, mine: Made) -> Result:
        machine.cache.lookup(mine.key)
        machine.cache.send_tree(mine.tree, str(mine.folder))
        together.wait()
        return machine.cache.publish(mine.key, mine.result, manifest=b"facts")

    with ThreadPoolExecutor(2) as pool:
        kept = list(pool.map(publish, [team.machine(), team.machine()], [one, other]))

    assert kept[0] == kept[1] == team.machine().cache.lookup(made.key)


def test_a_server_that_ignores_conditions_and_checksums_harms_nobody(
    moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.use(monkeypatch)
    with proxy(moto.endpoint) as way:
        place = place_of(moto.behind(way.endpoint).url(moto.prefix()))
        bucket = PatientBucket(S3Bucket(place, threads=4), QUICK)
        team = Team(bucket, way, tmp_path)
        made, one, other = team.built(), team.machine(), team.machine()
        way.faults.append(Fault("ignore", content=b"if-none-match"))
        way.faults.append(Fault("spoil", 1000, hits=of("PUT", "/chunks/"), times=1))
        assert (one.cache.lookup(made.key), other.cache.lookup(made.key)) == (None, None)
        one.push(made)
        way.faults.pop()

        assert other.pull(made) is None  # what came is not what was sent
        assert other.quarantine.reported == 1
        other.push(made)

        assert team.machine().pull(made)
        bucket.close()


PUSH = """
import sys
from pathlib import Path
from mlbuild.shared.place import place_of
from mlbuild.shared.s3 import S3Bucket
from tests.fault.test_shared_faults import Team
url, root = sys.argv[1:]
team = Team(S3Bucket(place_of(url), threads=4), None, Path(root))
team.machine().push(team.built("killed"))
"""


def test_an_upload_that_is_killed_leaves_a_miss(
    weed: ObjectServer, way: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weed.use(monkeypatch)
    url = weed.behind(way.endpoint).url(weed.prefix())
    team = Team(S3Bucket(place_of(url), threads=4), way, tmp_path)
    way.forget()
    way.faults.append(Fault("stall", hits=of("PUT", "/chunks/")))
    with subprocess.Popen(
        [sys.executable, "-c", PUSH, url, str(tmp_path)], cwd=REPOSITORY
    ) as pushing:
        deadline = time.monotonic() + 60
        while not way.asked("PUT", "/chunks/") and time.monotonic() < deadline:
            time.sleep(0.01)
        pushing.kill()
    way.forget()
    made = team.built("killed")

    assert team.machine().cache.lookup(made.key) is None

    team.machine().push(made)
    assert team.machine().pull(made)
    team.bucket.close()
