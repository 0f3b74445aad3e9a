"""Queue: where our jobs are in Slurm, asked for all of them at once and not too often."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock, Thread

from mlbuild.errors import HostError
from mlbuild.remote.slurm.commands import Commands, user
from mlbuild.shared.base import SharedTrouble

MARK = "mlbuild"  # first word of the comment of our jobs; then come their place and the order
EVERY = 1.0  # seconds between two questions, at least
_SHARE = 10  # a question that takes long is asked so many times more seldom
_HOLDERS = 10.0  # seconds that the answer about the jobs of others is used
_FORMAT = "%i|%T|%P|%l|%L|%b|%r|%k"
OVER = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY"),
        *("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"),
    }
)
WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One job of ours as Slurm tells of it."""

    job: int
    state: str
    partition: str
    limit: str  # on its time, as Slurm writes it
    left: str  # of that
    gres: str
    reason: str  # why it waits

    @property
    def waits(self) -> bool:
        """Say whether Slurm has it wait."""
        return self.state in WAITING

    @property
    def over(self) -> bool:
        """Say whether Slurm has done with it."""
        return self.state in OVER


class Queue:
    """The jobs of this user; for any number of threads.

    `place` is a word for where orders and states are: the same order elsewhere is another job.
    """

    def __init__(self, commands: Commands, *, place: str) -> None:
        self._commands = commands
        self._place = place
        self._door = Lock()
        self._found: Mapping[str, Entry] = {}
        self._asked = self._due = float("-inf")  # by the clock of `time.monotonic`
        self._is_asking = False
        self._why: SharedTrouble | HostError | None = None  # the last question had no answer
        self._fresh: dict[str, tuple[Entry, float]] = {}
        self._others = ("", float("-inf"))

    @property
    def trouble(self) -> str:
        """Why the last question had no answer, "" when it had one."""
        return self._why.message if self._why is not None else ""

    def mark(self, id_: str) -> str:
        """Return the comment that tells the job of an order from others."""
        return f"{MARK} {self._place} {id_}"

    def note(self, id_: str, job: int) -> None:
        """Note that an order has been handed in just now; 0 is for one that is about to be."""
        entry = Entry(job, "PENDING", "", "", "", "", "None")
        self._fresh[id_] = (entry, time.monotonic())

    def entry(self, id_: str) -> Entry | None:
        """Return the job of an order, the last where there were several; None when none is known.

        What Slurm said last counts while it is asked again, which keeps nobody waiting, and while
        it does not answer; where it never has, this raises.
        """
        with self._door:
            self._refresh()
            found = self._found.get(id_)
            if id_ not in self._fresh:
                return found
            entry, since = self._fresh[id_]
            if not entry.job:
                return entry
            if found is not None and found.job >= entry.job:
                del self._fresh[id_]
                return found
            return entry if self._asked <= since else None

    def look_again(self) -> None:
        """Have the next question asked at once."""
        self._due = float("-inf")

    def _refresh(self) -> None:
        """See to it that what is known is not too old, or is at least being asked for."""
        if time.monotonic() >= self._due and not self._is_asking:
            self._is_asking = True
            if self._asked < 0:
                self._ask()
            else:
                Thread(target=self._ask, name="squeue", daemon=True).start()
        if self._asked < 0 and self._why is not None:
            raise self._why

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            words = ("squeue", "-h", "-a", "-t", "all", "-u", user(), "-o", _FORMAT)
            self._found = _entries(self._commands.run(*words), self._place)
            self._asked, self._why = began, None
        except (SharedTrouble, HostError) as trouble:
            self._why = trouble
        finally:
            now = time.monotonic()
            self._due = now + max(EVERY, _SHARE * (now - began))
            self._is_asking = False

    def holders(self, partition: str) -> str:
        """Return who has GPUs in a partition, "" when nobody has."""
        with self._door:
            said, since = self._others
            if time.monotonic() - since > _HOLDERS:
                words = ("squeue", "-h", "-a", "-t", "R", "-o", "%P|%u|%i|%b")
                try:
                    said = self._commands.run(*words)
                except (SharedTrouble, HostError):
                    said = ""
                self._others = (said, time.monotonic())
        rows = [line.split("|") for line in said.splitlines() if line.count("|") == 3]  # noqa: PLR2004
        having = [row for row in rows if row[0] == partition and "gpu" in row[3]]
        return ", ".join(f"{who} (job {job})" for _, who, job, _ in having[:4])


def _entries(text: str, place: str) -> dict[str, Entry]:
    """Read what `squeue` prints; of several jobs of one order the last counts."""
    found: dict[str, Entry] = {}
    for line in text.splitlines():
        job, *rest = line.split("|", 7)
        if len(rest) != 7 or not job.isdigit():  # noqa: PLR2004 - fields of the format
            continue
        mark, _, id_ = rest[-1].rpartition(" ")
        entry = Entry(int(job), *rest[:-1])
        if mark == f"{MARK} {place}" and (id_ not in found or found[id_].job < entry.job):
            found[id_] = entry
    return found
