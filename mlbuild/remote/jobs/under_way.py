"""UnderWay: the jobs of an executor, whoever started them: how far they are, their logs, their end.

An executor whose jobs outlive the build that started them offers it, for `mlbuild jobs`, `attach`
and `cancel`. What is known of a job are a note of the book and the state that its runner tells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from mlbuild.remote.jobs.book import Note
from mlbuild.remote.state import State

LOST = "lost"  # a phase beside those that runners tell: its runner has gone without a word
TAKEN = "taken"  # likewise: it has ended, and somebody has the outcome
ALIVE = frozenset({"queued", "running"})


class UnderWay(Protocol):
    """The jobs of one executor. All methods raise HostError where nobody answers."""

    where: str  # what a user calls the machine

    def found(self) -> Iterator[Note]:
        """Yield a note for each job that this user has there, as far as that can be asked."""
        ...

    def states(self, notes: Sequence[Note]) -> Mapping[str, State]:
        """Return how far jobs are, by the ids of their orders, in few questions.

        Beside the phases of a runner there are LOST and TAKEN. What is not known there is left out.
        """
        ...

    def follow(
        self,
        note: Note,
        *,
        print_: Callable[[bytes], None],
        hear: Callable[[State], None],
        over: Callable[[State], bool],
        tail: int | None = None,
    ) -> State | None:
        """Return the last state of a job once it is over; None when it is not known there.

        `print_` gets its log piece by piece, without a gap or a repeat, from the last `tail` lines
        of what there is on, or from the beginning; `hear` gets each state. `over` says of a state
        that seems to be the last one whether nobody will start the job again. A connection that
        is lost on the way is made anew.
        """
        ...

    def cancel(self, note: Note) -> None:
        """Ask a job to end; return without waiting for that."""
        ...


@runtime_checkable
class Lasting(Protocol):
    """What an Executor also has whose jobs outlive the build that started them."""

    def under_way(self) -> UnderWay:
        """Return its jobs; asks nobody yet."""
        ...
