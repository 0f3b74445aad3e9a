"""Inotify: an alarm that the kernel rings, through watchdog.

One watch a folder, none below it: a virtual environment with ten thousand folders costs nothing.
Nothing is concluded from an event but that it is time to look. So it does not matter what an event
says exactly, nor whether one was lost in a queue that was too short: those before it ring as well,
and the word of the overflow itself does.
"""

import errno
import logging
import os
import threading
from collections.abc import Mapping
from itertools import count
from time import monotonic

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from mlbuild.columns import SKIPPED
from mlbuild.watch.alarm import LONGEST, QUIET, Deaf
from mlbuild.watch.footing import Footing
from mlbuild.watch.mounts import network_folder

_CONTENT = InotifyConstants.IN_MODIFY | InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_ATTRIB
_NAMES = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
)
_MASK = Mask(_CONTENT | _NAMES | InotifyConstants.IN_ONLYDIR)
_LIMITS = {
    errno.ENOSPC: ("fs.inotify.max_user_watches", 524_288),
    errno.EMFILE: ("fs.inotify.max_user_instances", 1024),
}

Watched = dict[int, list[tuple[str, bool]]]  # folders by descriptor, and whether all there matters


class Inotify:
    """Rings when the kernel tells of a change that may matter."""

    def __init__(self) -> None:
        # What it would print of an overflow is no news to anybody who reads our output.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        try:
            self._queue = InotifyFD()
        except OSError as error:
            raise _deaf(error, 0) from error
        self._generations = count(1)
        self._generation = 0
        self._watched: Watched = {}
        self._files: frozenset[str] = frozenset()
        self._rung = threading.Event()
        self._queue.start()

    def follow(self, footing: Footing) -> bool:
        """Listen to what `footing` needs; say whether any of that is new. Raises Deaf.

        A folder is told by what it is and not by its name: one that was replaced is new.
        """
        folders = footing.folders()
        if found := network_folder(folders):
            folder, kind = found
            raise Deaf(f"`{folder}` is on a network file system ({kind})")
        generation = next(self._generations)
        watched: Watched = {}
        try:
            for folder, whole in folders.items():
                if (number := self._listen(folder, generation)) is not None:
                    watched.setdefault(number, []).append((folder, whole))
        except OSError as error:
            raise _deaf(error, len(folders)) from error
        before, files = self._watched, self._files
        self._watched, self._files = watched, footing.files
        self._forget(before, self._generation)
        self._generation = generation
        return not (footing.files <= files and _places(watched) <= _places(before))

    def _listen(self, folder: str, generation: int) -> WatchDescriptor | None:
        """Return the watch of a folder, None where there is none any more."""
        try:
            return self._queue.add_callback(
                os.fsencode(folder), _MASK, self, CallbackId(generation)
            )
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EBADF}:
                raise
            return None

    def _forget(self, watched: Mapping[int, object], generation: int) -> None:
        """Give up what was listened to as of `generation`; what was asked for since stays."""
        self._queue.remove_callbacks(
            [(WatchDescriptor(number), CallbackId(generation)) for number in watched]
        )

    def wait(self, seconds: float) -> bool:
        """Wait for a change, at most `seconds`, and for the end of its burst."""
        if not self._rung.wait(seconds):
            return False
        end = monotonic() + LONGEST
        while True:
            self._rung.clear()
            if not self._rung.wait(QUIET) or monotonic() >= end:
                return True

    def count(self) -> int:
        """Return how many folders are listened to."""
        return len(self._watched)

    def close(self) -> None:
        """Listen no more."""
        self._queue.stop()

    # What the thread of the queue calls

    def on_event(self, event: InotifyEvent) -> None:
        """Ring, if what happened may matter."""
        if self._may_matter(event):
            self._rung.set()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - any of them
        """Ring: a folder is gone."""
        self._rung.set()

    def on_queue_overflow(self) -> None:
        """Ring: nobody knows what was lost."""
        self._rung.set()

    def _may_matter(self, event: InotifyEvent) -> bool:
        name = os.fsdecode(event.name)
        if name in SKIPPED:
            return False
        places = self._watched.get(event.wd)
        if places is None or not name or event.mask & (_NAMES | InotifyConstants.IN_ISDIR):
            return True
        files = self._files
        return any(whole or f"{folder}/{name}" in files for folder, whole in places)


def _places(watched: Watched) -> set[tuple[int, str, bool]]:
    """Return all that is listened to, one by one."""
    return {(number, *place) for number, places in watched.items() for place in places}


def _deaf(error: OSError, folders: int) -> Deaf:
    """Return why the kernel does not serve, and what can be done about it."""
    if error.errno not in _LIMITS:
        return Deaf(f"inotify gave up: {error.strerror or error}")
    setting, more = _LIMITS[error.errno]
    what = f"{folders:,} folders are more watches" if folders else "they are more instances"
    return Deaf(
        f"{what} of inotify than this user may have",
        hints=(f"for more, as root: `sysctl {setting}={more}`",),
    )
