"""KeyLock: one process at a time runs the action of a key; a dead holder blocks nobody.

The lock is a flock on `locks/<key>`, so the kernel lets go of it when its holder ends in any way.
The file holds the path of the holder's running log, for those who wait.

A process has a few files that it holds locked all its life. Locking a key is linking one of them
to the key's name, and unlocking is removing the name: half the cost of a new file for each key.
"""

import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import Self

from mlbuild.store import files
from mlbuild.store.private import Private, Token, take

_PATIENCE = 0.1  # seconds between two looks at a held lock, at most


class KeyLock:
    """The right to run one key. Used by one thread at a time."""

    def __init__(self, path: str, private: Private) -> None:
        self._path = path
        self._private = private
        self._token: Token | None = None
        self._fd = -1

    @property
    def held(self) -> bool:
        """Say whether this object holds the lock."""
        return self._fd >= 0

    @property
    def descriptor(self) -> int:
        """The descriptor that holds it; a process that has a copy holds it too."""
        return self._fd

    def try_acquire(self) -> bool:
        """Take the lock if it is free; say whether it is ours now."""
        with files.disk_errors(self._private.root):
            return self._try()

    def _try(self) -> bool:
        token = self._private.token()
        try:
            os.link(token.path, self._path)
        except FileExistsError:
            self._private.give_back(token)
            return self._inherit()
        except FileNotFoundError:  # the folder was cleaned away
            self._private.give_back(token)
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            return self._inherit()
        self._token, self._fd = token, token.fd
        return True

    def _inherit(self) -> bool:
        """Take the lock file of a holder that has died."""
        fd = take(self._path)
        if fd is None:
            return False
        self._fd = fd
        return True

    def acquire(self, timeout: float, on_wait: Callable[[str], None] | None = None) -> bool:
        """Wait up to `timeout` seconds for the lock; say whether it is ours now.

        `on_wait` is called at every look with the path of the holder's log ("" while unknown);
        it ends the waiting by raising.
        """
        until = monotonic() + timeout
        pause = 0.001
        while not self.try_acquire():
            if on_wait is not None:
                on_wait(self.holder_log())
            left = until - monotonic()
            if left <= 0:
                return False
            sleep(min(pause, left))
            pause = min(2 * pause, _PATIENCE)
        return True

    def announce(self, log: str) -> None:
        """Tell those who wait where the running log is."""
        # No truncation: ext4 would write the file to the disk at once.
        os.pwrite(self._fd, os.fsencode(log) + b"\0", 0)

    def holder_log(self) -> str:
        """Return the path that the holder announced, "" when it has not."""
        return os.fsdecode((files.read_file(self._path) or b"").partition(b"\0")[0])

    def release(self) -> None:
        """Let go; nothing happens when the lock is not held."""
        if self._fd >= 0:
            files.remove(self._path)  # before the lock goes: only its holder may remove it
            if self._token is not None:
                self._private.give_back(self._token)
            else:
                os.close(self._fd)
            self._token, self._fd = None, -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
