"""Gate: what is used and what is removed, each at a time of its own.

Whoever relies on something in the store touches it first, and is inside the gate to do so; any
number may be. A collection looks at one thing and removes it while nobody is. So a touch comes
before that look, and the thing stays, or after the removal, and finds nothing.

The lock is a flock on the file `version`, which every store has: nobody removes it, and the kernel
lets go of it when its holder dies. It is held for a few system calls, by a build for one or two.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from mlbuild.store import files

_ALONE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW  # NFS lets nobody lock alone what he cannot write


class Gate:
    """The gate of the store at `root`, for all threads of one process; a fork makes its own."""

    def __init__(self, root: str) -> None:
        self._path = f"{root}/version"
        self._door = Lock()
        self._fd = -1

    def touch(self, path: str) -> bool:
        """Note that the file at `path` is used now; say whether it was there.

        Then it stays as long as this process lives, unless the user has it removed.
        """
        with self:
            return files.touch(path)

    def __enter__(self) -> None:
        """Go inside; nothing is removed until the end of the block, which must be near."""
        self._door.acquire()
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, files.READ)
            fcntl.flock(self._fd, fcntl.LOCK_SH)
        except FileNotFoundError:  # the user removed the store, and us from those who may use it
            pass
        except BaseException:
            self._door.release()
            raise

    def __exit__(self, *_: object) -> None:
        """Leave."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._door.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody is inside, and keep all out until the end of the block."""
        # Ctrl-Z in here would stop all builds as well.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        try:
            fd = os.open(self._path, _ALONE)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """Give back what it holds."""
        with self._door:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
