"""Alarm: tells that something may have changed. What has changed is for others to find out."""

from typing import Protocol

from mlbuild.watch.footing import Footing

QUIET = 0.2  # seconds without a change after which a burst of changes counts as over
LONGEST = 5.0  # seconds: a burst that does not end is looked at all the same


class Alarm(Protocol):
    """Listens to the folders of a footing."""

    def follow(self, footing: Footing) -> bool:
        """Listen to what `footing` needs and to nothing else; say whether any of that is new.

        If so, changes made before this call may have been missed. Raises Deaf.
        """
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for a change, at most `seconds`, and for the end of its burst.

        Say whether there was one. One that came between two calls is not lost.
        """
        ...

    def count(self) -> int:
        """Return how many folders are listened to."""
        ...

    def close(self) -> None:
        """Listen no more."""
        ...


class Deaf(Exception):  # noqa: N818 - a condition, which has a way out
    """An alarm cannot listen here, and why."""

    def __init__(self, why: str, *, hints: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.hints = hints
