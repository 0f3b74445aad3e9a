"""Sweep: garbage collection of a bucket, while others read and write it.

Results go when they are too old; their age is that of their entry. What no result names any more is
first condemned: a list of such objects, each with the time when it was first seen to be needed by
nobody, lies in the bucket. It goes when it is still needed by nobody after a time of grace, and
was not written again meanwhile. The grace is longer than any machine remembers what the bucket has
(`known.py`), so nobody refers to what is about to go without sending it again, which renews it.

All times are the server's: the clock of this machine does not matter. Any number of sweeps may
run at once: each can only remove what all of them would.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mlbuild.core.digest import Digest
from mlbuild.errors import HostError
from mlbuild.shared import entry, listing
from mlbuild.shared.base import Bucket, Object, SharedTrouble
from mlbuild.shared.fields import Fields
from mlbuild.shared.known import DAYS
from mlbuild.shared.layout import (
    BLOBS,
    CHUNKS,
    ENTRIES,
    KINDS,
    LISTINGS,
    MAIN,
    MANIFESTS,
    place,
    place_of,
)
from mlbuild.shared.listing import LARGE, Piece, decode_listing, decode_pieces

DAY = 24 * 3600.0  # seconds
GRACE = (DAYS + 1) * DAY  # seconds
BRANCH_AGE = 14 * DAY  # seconds that results of other scopes than `main` stay, at most
CONDEMNED = "gc/condemned"
_CLOCK = "gc/clock-"
_MAGIC = "mlbuild condemned 1"
_THREADS = 16
_BATCH = 1000  # objects that are removed with one request
_PARTS = 4  # of a name at least: scope, kind, two digits, name
_LIMIT = 1 << 30  # bytes of the list of the condemned
_BLOB_LIMIT = 64 << 20


@dataclass(slots=True)
class Sweep:
    """What a sweep removes."""

    now: float = 0.0  # seconds since the epoch, by the server's clock
    results: list[Object] = field(default_factory=list)
    renewed: list[Object] = field(default_factory=list)  # results in use that get a new age
    others: list[Object] = field(default_factory=list)  # that nobody needs
    condemned: dict[str, float] = field(default_factory=dict)  # since when; go later
    waiting: int = 0  # bytes of the condemned
    before: int = 0  # bytes of all objects
    kept: int = 0  # results that stay

    @property
    def freed(self) -> int:
        """Bytes that go."""
        return sum(one.size for one in (*self.results, *self.others))


@dataclass(frozen=True, slots=True)
class Where:
    """What the name of an object says."""

    scope: str
    kind: str
    name: str


def where(name: str) -> Where | None:
    """Read the name of an object; None for one that is not of a shared cache."""
    parts = name.split("/")
    if len(parts) < _PARTS:
        return None
    *scope, kind, digits, last = parts
    if kind not in KINDS or not last.startswith(digits):
        return None
    return Where("/".join(scope), kind, last)


def plan(
    bucket: Bucket,
    *,
    age: float | None,
    grace: float = GRACE,
    used: AbstractSet[str] = frozenset(),
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Sweep:
    """Choose what goes from a bucket: results older than `age` seconds, and what nobody needs.

    Results of other scopes than `main` stay for two weeks at most. Those in `main` whose keys are
    in `used` are renewed when they have reached half of the age, and stay. `tell` hears how many
    results have been read, of how many. Raises SharedTrouble, and HostError where a newer mlbuild
    has written what this one cannot read.
    """
    found = Sweep(server_time(bucket))
    entries: list[Object] = []
    others: list[Object] = []
    for one in bucket.names(""):
        at = where(one.name)
        if at is None:
            continue
        found.before += one.size
        if at.kind != ENTRIES:
            others.append(one)
        elif at.scope == MAIN and at.name in used:
            entries.append(one)
            if age is not None and one.modified < found.now - age / 2:
                found.renewed.append(one)
        elif _is_old(one, at.scope, now=found.now, age=age):
            found.results.append(one)
        else:
            entries.append(one)
    found.kept = len(entries)
    needed: set[str] = set()
    with ThreadPoolExecutor(_THREADS) as pool:
        named = pool.map(lambda one: _needed(bucket, one.name), entries)
        for done, names in enumerate(named, 1):
            needed.update(names)
            tell(done, len(entries))
    known = _condemned(bucket)
    for one in others:
        if one.name in needed:
            continue
        since = known.get(one.name, found.now)
        if one.modified > since:  # written again
            since = found.now
        if since <= found.now - grace:
            found.others.append(one)
        else:
            found.condemned[one.name] = since
            found.waiting += one.size
    return found


def carry_out(
    bucket: Bucket, sweep: Sweep, *, tell: Callable[[int, int], None] = lambda *_: None
) -> Sweep:
    """Remove what was chosen; return what was removed. `tell` hears of how many how many are gone.

    Results go before what they name. What was written again since it was chosen stays.
    """
    removed = Sweep(sweep.now, condemned=dict(sweep.condemned), waiting=sweep.waiting)
    removed.before, removed.kept = sweep.before, sweep.kept
    for one in sweep.renewed:
        content = _read(bucket, one.name, limit=entry.LIMIT)
        if content is not None:
            bucket.write(one.name, content)
            removed.renewed.append(one)
    total, done = len(sweep.results) + len(sweep.others), 0
    for chosen, gone in ((sweep.results, removed.results), (sweep.others, removed.others)):
        for batch in _batches(bucket, chosen):
            bucket.remove([one.name for one in batch])
            gone.extend(batch)
            done += len(batch)
            tell(done, total)
    _condemn(bucket, removed.condemned)
    return removed


def server_time(bucket: Bucket) -> float:
    """Return the time by the clock that stamps the objects of a bucket."""
    name = f"{_CLOCK}{os.urandom(8).hex()}"
    bucket.write(name, b"mlbuild looks what time it is\n")
    try:
        times = [one.modified for one in bucket.names(name)]
    finally:
        bucket.remove([name])
    if not times:
        raise SharedTrouble("damaged", "the shared cache does not list what was just written")
    return max(times)


def _is_old(one: Object, scope: str, *, now: float, age: float | None) -> bool:
    most = age if age is not None else float("inf")
    if scope != MAIN:
        most = min(most, BRANCH_AGE)
    return one.modified < now - most


# what results need


def _needed(bucket: Bucket, name: str) -> set[str]:
    """Return the names of all objects that the entry `name` needs, directly or not."""
    at = where(name)
    content = _read(bucket, name, limit=entry.LIMIT)
    if content is None or at is None:  # gone meanwhile
        return set()
    if at.scope == MAIN:  # others must not be able to stop who collects
        _check_version(content, entry.MAGIC)
    try:
        found = entry.decode_entry(content, at.name)
    except SharedTrouble:  # damaged: a miss for everybody, until somebody replaces it
        return set()
    needed = {place(at.scope, MANIFESTS, at.name)}
    if found.result.log is not None:
        needed |= _blob(bucket, found.result.log, scope=at.scope)
    return needed | _tree(bucket, found, scope=at.scope)


def _tree(bucket: Bucket, found: entry.Entry, *, scope: str) -> set[str]:
    """Return the names of the listings and pieces of the tree of an entry."""
    tree = found.result.tree
    needed: set[str] = set()
    contents = [(scope, found.listing)] if found.listing else []
    if not contents:
        for one in dict.fromkeys((scope, MAIN)):
            name = place(one, LISTINGS, tree.hash)
            content = _read(bucket, name, limit=listing.LIMIT)
            if content is not None:
                needed.add(name)
                contents.append((one, content))
    for one, content in contents:
        if one == MAIN:
            _check_version(content, listing.MAGIC)
        try:
            pieces = decode_listing(content, tree).pieces()
        except SharedTrouble:
            continue
        needed.update(place_of(piece, kind, scope=one) for kind, piece in pieces)
    return needed


def _blob(bucket: Bucket, digest: Digest, *, scope: str) -> set[str]:
    """Return the names of the objects that hold a single content."""
    needed: set[str] = set()
    for one in dict.fromkeys((scope, MAIN)):
        name = place(one, BLOBS, digest.hash)
        needed.add(name)
        content = _read(bucket, name, limit=_BLOB_LIMIT) if digest.size >= LARGE else None
        if content and content[:1] == b"c":
            needed.update(place_of(piece, CHUNKS, scope=one) for piece in _chunks(content, digest))
    return needed


def _chunks(content: bytes, digest: Digest) -> Iterable[Piece]:
    try:
        return decode_pieces(Fields(content[1:]), digest)
    except SharedTrouble:
        return ()


def _read(bucket: Bucket, name: str, *, limit: int) -> bytes | None:
    """Return an object; None when it is gone, or too long to be what its name says."""
    try:
        return bucket.read(name, limit=limit)
    except SharedTrouble as trouble:
        if trouble.kind == "damaged":
            return None
        raise


def _check_version(content: bytes, magic: bytes) -> None:
    """Refuse to judge what a newer mlbuild wrote: who knows what it needs."""
    words = magic.rsplit(b" ", 2)[0] + b" "
    if content.startswith(words) and not content.startswith(magic):
        raise HostError(
            "the shared cache holds results of a newer mlbuild, and what they need is not known",
            hints=("collect with the newest mlbuild that anybody of your team uses",),
        )


# the condemned


def _condemned(bucket: Bucket) -> dict[str, float]:
    """Return what is condemned, and since when; what cannot be read was never written."""
    content = bucket.read(CONDEMNED, limit=_LIMIT)
    lines = (content or b"").decode("utf-8", "replace").splitlines()
    if lines[:1] != [_MAGIC]:
        return {}
    found: dict[str, float] = {}
    for line in lines[1:]:
        since, _, name = line.partition(" ")
        try:
            found[name] = float(since)
        except ValueError:
            continue
    return found


def _condemn(bucket: Bucket, condemned: dict[str, float]) -> None:
    lines = [_MAGIC, *(f"{since:.3f} {name}" for name, since in sorted(condemned.items())), ""]
    bucket.write(CONDEMNED, "\n".join(lines).encode())


def _batches(bucket: Bucket, chosen: list[Object]) -> Iterator[list[Object]]:
    """Yield objects that are still as they were when they were chosen, looked at right before."""
    folders: dict[str, list[Object]] = {}
    for one in chosen:
        at = where(one.name)
        assert at is not None, "chosen by its name"
        folders.setdefault(f"{at.scope}/{at.kind}/", []).append(one)
    for folder, objects in folders.items():
        now = {one.name: one.modified for one in bucket.names(folder)}
        still = [one for one in objects if now.get(one.name) == one.modified]
        for start in range(0, len(still), _BATCH):
            yield still[start : start + _BATCH]
