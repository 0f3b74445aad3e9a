"""Private: what one process has in the store for itself, and what it owes to the disk.

A process has a folder `tmp/<pid>-<boot id>-<n>/`, made when first needed. Beside it lies a file
of the same name with `.lock`, on which the process holds a flock as long as it lives: who can take
that lock knows that the process is dead, whatever runs under its number now.

Nothing is fsynced file by file. A file `<name>.unsynced` exists from the process's first write
after a sync until its next sync, which is one syncfs(2) for the whole store. Journaling file
systems keep the order of names, so the marker reaches the disk no later than what it announces.

- After a kill -9 the kernel still has every byte: the next process syncs, then forgets the dead.
- After a power cut the next process finds a marker of another boot, and all that is newer than
  the marker is hashed before the store is used (`disk.py`); what is wrong becomes a miss.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Lock

from mlbuild.store import files

LOCK = ".lock"
UNSYNCED = ".unsynced"
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Token:
    """A file in a private folder, and a descriptor that holds its flock while the process lives."""

    path: str
    fd: int


class Private:
    """A process's folder below `root`/tmp, and its marker of writes that are not yet durable."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._rooms = rooms(root)
        self._door = Lock()
        self._folder = ""
        self._lock = -1
        self._serial = count()
        self._marked = False
        self._writers = 0
        self._writes = 0
        self._tokens: list[Token] = []

    def enter(self) -> str:
        """Make the folder of this process unless it has one; return its absolute path."""
        return self._folder or self._enter()

    def name(self) -> str:
        """Return an absolute path that nobody uses, on the store's file system."""
        return f"{self._folder or self._enter()}/{next(self._serial)}"

    def scratch(self) -> str:
        """Return the absolute path of an empty folder that nobody uses."""
        path = self.name()
        os.mkdir(path, 0o700)
        return path

    def drop(self, path: str) -> None:
        """Remove a scratch folder, or a part of one, with what is in it; mostly that is nothing."""
        try:
            os.rmdir(path)
        except OSError:
            files.remove(path)

    def token(self) -> "Token":
        """Return a lock that this process holds on a file of its own."""
        try:
            return self._tokens.pop()
        except IndexError:
            path = self.name()
            fd = take(path)
            assert fd is not None, "nobody else knows this name"
            return Token(path, fd)

    def give_back(self, token: "Token") -> None:
        """Keep a token, which must have no other name, for its next use."""
        os.pwrite(token.fd, b"\0", 0)
        self._tokens.append(token)

    def _enter(self) -> str:
        """Make the folder of this process."""
        with self._door:
            while not self._folder:
                name = f"{os.getpid()}-{boot_id()}-{next(self._serial)}"
                folder = f"{self._rooms}/{name}"
                lock = take(folder + LOCK)
                if lock is None:
                    continue
                try:
                    os.mkdir(folder, 0o700)
                except FileExistsError:  # of a dead process that had our number
                    os.close(lock)
                    continue
                except BaseException:
                    os.close(lock)
                    raise
                self._lock, self._folder = lock, folder
        return self._folder

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Surround every write that a power cut might undo."""
        folder = self._folder or self._enter()
        with self._door:
            if not self._marked:
                os.close(os.open(folder + UNSYNCED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._marked = True
            self._writers += 1
            self._writes += 1
        try:
            yield
        finally:
            with self._door:
                self._writers -= 1

    def settle(self, name: str, path: str) -> None:
        """Rename the finished file `name` to `path`, whatever lies there."""
        try:
            os.rename(name, path)
        except FileNotFoundError:  # the first of its shard
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            os.rename(name, path)
        except IsADirectoryError:
            self.quarantine(path)
            os.rename(name, path)

    def quarantine(self, path: str, *, inode: int | None = None) -> None:
        """Take something damaged out of the store's way, for its user to look at.

        With `inode`, only if it is still that which was found damaged.
        """
        name = self.name().removeprefix(self._rooms + "/").replace("/", "-")
        aside = f"{self.root}/quarantine/{os.path.basename(path)}.{name}"
        try:
            found = os.lstat(path)
            if inode is not None and found.st_ino != inode:
                return
            if stat.S_ISDIR(found.st_mode):
                os.chmod(path, 0o700)  # else only root could move it
            os.rename(path, aside)
        except FileNotFoundError:
            if os.path.lexists(path):
                os.makedirs(os.path.dirname(aside), 0o700, exist_ok=True)
                os.rename(path, aside)

    def clear(self, path: str) -> None:
        """Take what is no regular file out of the way of one."""
        try:
            strange = not stat.S_ISREG(os.lstat(path).st_mode)
        except FileNotFoundError:
            return
        if strange:
            self.quarantine(path)

    def sync(self) -> None:
        """Make everything written until now durable; free of cost when nothing was written."""
        with self._door:
            if not self._marked:
                return
            quiet, writes = self._writers == 0, self._writes
        sync_disk(self.root)
        with self._door:
            if quiet and writes == self._writes:  # else a write may have come after the sync
                files.remove(self._folder + UNSYNCED)
                self._marked = False

    def close(self) -> None:
        """Sync, and remove the folder."""
        self.sync()
        with self._door:
            if self._folder and not self._marked:
                files.remove(self._folder)
                files.remove(self._folder + LOCK)
                os.close(self._lock)
                while self._tokens:
                    os.close(self._tokens.pop().fd)
                self._folder = ""


def rooms(root: str) -> str:
    """Return the folder that holds the private folders of all processes."""
    return os.path.join(root, "tmp")


def take(path: str) -> int | None:
    """Return a descriptor that holds the lock file `path`, or None while another one does.

    A lock file may be removed by its holder only, so who gets the lock checks that the file that
    it locked is still the one under that name.
    """
    while True:
        try:
            fd = os.open(path, _LOCK_FLAGS, 0o600)
        except OSError as error:
            if error.errno not in {errno.EISDIR, errno.ELOOP}:
                raise
            files.remove(path)  # damage: no lock of ours is a folder or a link
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(path, follow_symlinks=False).st_ino == os.fstat(fd).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def sweep(root: str) -> list[str]:
    """Remove what dead processes left in tmp/ and locks/; return the markers of other boots."""
    folder = rooms(root)
    names = sweep_rooms(root)
    for name in os.listdir(f"{root}/locks"):
        held = take(f"{root}/locks/{name}")
        if held is not None:
            files.remove(f"{root}/locks/{name}")
            os.close(held)
    return [f"{folder}/{name}" for name in names if _of_another_boot(name)]


def sweep_rooms(root: str) -> list[str]:
    """Remove what dead processes left in tmp/; return the names that were there."""
    folder = rooms(root)
    names = os.listdir(folder)
    if names:
        dead = _dead(folder, names)
        if any(name + UNSYNCED in names for name, _ in dead):
            sync_disk(root)
        for name, lock in dead:
            for suffix in (UNSYNCED, "", LOCK):
                files.remove(f"{folder}/{name}{suffix}")
            os.close(lock)
    return names


def is_lost(root: str, name: str) -> bool:
    """Say whether the process is dead whose folder in tmp/ has, or had, this name."""
    path = f"{rooms(root)}/{name}{LOCK}"
    lock = take(path)
    if lock is None:
        return False
    files.remove(path)
    os.close(lock)
    return True


def _dead(folder: str, names: list[str]) -> list[tuple[str, int]]:
    """Return the dead processes among `names`, each with a descriptor that holds its lock.

    The marker of another boot stays: it goes when the store has been checked.
    """
    here = boot_id()
    found = []
    for stem in {name.removesuffix(LOCK).removesuffix(UNSYNCED) for name in names}:
        if stem + UNSYNCED in names and here not in stem:
            continue
        lock = take(f"{folder}/{stem}{LOCK}")
        if lock is not None:
            found.append((stem, lock))
    return found


def _of_another_boot(name: str) -> bool:
    return name.endswith(UNSYNCED) and boot_id() not in name


def boot_id() -> str:
    """Return the kernel's name for the time since this host was switched on."""
    return (files.read_file("/proc/sys/kernel/random/boot_id") or b"unknown").decode().strip()


def sync_disk(root: str) -> None:
    """Write the file system of `root` to its disk."""
    import ctypes  # noqa: PLC0415 - 3 ms that only a process that wrote something pays

    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(root, files.FOLDER)
    try:
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), root)
    finally:
        os.close(fd)
