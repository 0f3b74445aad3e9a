"""FolderBucket: a bucket that is a plain folder which many machines see, such as an NFS share.

Every object is written under a private name beside its place, flushed, then renamed or linked to
it: nobody ever sees half of one. Modes follow those of the folder that the team made: whoever may
list it may read all objects, whoever may write to it may add and replace them. A scope whose folder
has other modes, or another owner, keeps all of its files to itself.

What lies in the folder is not trusted: no symlink in it is ever followed, and nothing but regular
files is read.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlbuild.shared.base import Object, SharedTrouble

TMP = ".tmp-"  # what private names begin with
STALE = 2 * 24 * 3600 * 10**9  # ns after which a private file is of a machine that died
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?")
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = _ROOT | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hang us
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_STRANGE = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
_GONE = {errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENXIO}
_PIECE = 1 << 24  # bytes of one read(2) or write(2)


class FolderBucket:
    """Objects as files below the absolute path `root`, which must be there already.

    One that is not `durable` may lose what it was given last, when the power fails.
    """

    def __init__(self, root: str, *, durable: bool = True) -> None:
        self.root = root
        self._durable = durable

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return `size` bytes from `start` (-1: all); None when there is no object."""
        with self._opened(name) as (folder, last):
            if folder is None:
                return None
            try:
                fd = os.open(last, _READ, dir_fd=folder)
            except FileNotFoundError:
                return None
            try:
                return _read_open(fd, name, start=start, size=size, limit=limit)
            finally:
                os.close(fd)

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep `content` under `name`; with `fresh`, only where nothing is, else return False."""
        with self._opened(name, make=True) as (folder, last):
            assert folder is not None, "it has just been made"
            if fresh and _exists(last, at=folder):
                return False
            private = f"{TMP}{os.urandom(16).hex()}"
            try:
                _fill(private, content, at=folder, durable=self._durable)
                if fresh:
                    return _link(private, last, at=folder)
                os.rename(private, last, src_dir_fd=folder, dst_dir_fd=folder)
                return True
            finally:
                _forget(private, at=folder)

    def names(self, prefix: str) -> Iterator[Object]:
        """Yield all objects whose names begin with `prefix`, sorted within each folder."""
        _check(_PREFIX, prefix)
        path, _, start = prefix.rpartition("/")
        with self._troubles(prefix), self._at(path.split("/") if path else []) as folder:
            if folder is not None:
                yield from _walk(folder, f"{path}/" if path else "", start=start)

    def remove(self, names: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        for name in names:
            with self._opened(name) as (folder, last):
                if folder is not None and _exists(last, at=folder):
                    os.unlink(last, dir_fd=folder)

    def close(self) -> None:
        """Do nothing: no descriptor outlives a call."""

    @contextmanager
    def _opened(self, name: str, *, make: bool = False) -> Iterator[tuple[int | None, str]]:
        """Open the folder of an object, None when there is none; give also its last name."""
        _check(_NAME, name)
        *parents, last = name.split("/")
        with self._troubles(name), self._at(parents, make=make) as folder:
            yield folder, last

    @contextmanager
    def _at(self, parts: list[str], *, make: bool = False) -> Iterator[int | None]:
        """Open the folder of these names, one by one, so that no link is followed."""
        fd = os.open(self.root, _ROOT)
        try:
            for part in parts:
                inner = _enter(part, at=fd, make=make)
                os.close(fd)
                fd = -1 if inner is None else inner
                if inner is None:
                    break
            yield None if fd < 0 else fd
        finally:
            if fd >= 0:
                os.close(fd)

    @contextmanager
    def _troubles(self, name: str) -> Iterator[None]:
        """Turn what the system says into trouble of a shared cache."""
        try:
            yield
        except OSError as error:
            raise _in_words(error, self.root, name) from error


def _check(pattern: re.Pattern[str], name: str) -> None:
    if not pattern.fullmatch(name):
        raise SharedTrouble("refused", f"`{name}` is no name of an object")


def _enter(name: str, *, at: int, make: bool) -> int | None:
    """Open a folder; with `make`, make it like the one that it is in."""
    try:
        return os.open(name, _FOLDER, dir_fd=at)
    except FileNotFoundError:
        if not make:
            return None
    mode = stat.S_IMODE(os.fstat(at).st_mode)
    try:
        os.mkdir(name, mode, dir_fd=at)
    except FileExistsError:  # another machine was faster
        return os.open(name, _FOLDER, dir_fd=at)
    fd = os.open(name, _FOLDER, dir_fd=at)
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:  # the umask took bits
            os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _fill(name: str, content: bytes, *, at: int, durable: bool) -> None:
    """Write the new file `name`, and flush it where it is to be `durable`.

    Whoever may read the folder may read it.
    """
    fd = os.open(name, _NEW, 0o600, dir_fd=at)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest[:_PIECE]) :]
        os.fchmod(fd, 0o600 | (os.fstat(at).st_mode & 0o044))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def _read_open(fd: int, name: str, *, start: int, size: int, limit: int) -> bytes:
    """Return a part of an open file, which must be a regular one."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise SharedTrouble("damaged", f"`{name}` in the shared folder is no regular file")
    wanted = max(0, found.st_size - start)
    if size >= 0:
        wanted = min(wanted, size)
    if 0 <= limit < wanted:
        raise SharedTrouble(
            "damaged", f"`{name}` in the shared folder has {wanted} bytes, not at most {limit}"
        )
    first = os.pread(fd, wanted, start)
    if len(first) == wanted:
        return first
    parts = [first]  # the system gives at most 2 GiB at once
    while (got := sum(map(len, parts))) < wanted and (part := os.pread(fd, _PIECE, start + got)):
        parts.append(part)
    return b"".join(parts)[:wanted]


def _exists(name: str, *, at: int) -> bool:
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return True


def _link(private: str, last: str, *, at: int) -> bool:
    """Give a finished file its name unless something has it; say whether it was free."""
    try:
        os.link(private, last, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
    except FileExistsError:
        # A server that answers twice says so of a link that it has just made.
        return os.stat(private, dir_fd=at, follow_symlinks=False).st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if _exists(last, at=at):
            return False
        os.rename(private, last, src_dir_fd=at, dst_dir_fd=at)
    return True


def _forget(name: str, *, at: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=at)


def _walk(fd: int, path: str, *, start: str) -> Iterator[Object]:
    """Yield the objects below an open folder; `start` is what the names in it begin with."""
    for name in sorted(os.listdir(fd)):
        if name.startswith("."):
            _tidy(name, at=fd)
        elif name.startswith(start):
            yield from _look(fd, name, path)


def _look(fd: int, name: str, path: str) -> Iterator[Object]:
    """Yield the object `name` of an open folder, or those below it."""
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        inner = os.open(name, _FOLDER, dir_fd=fd) if stat.S_ISDIR(found.st_mode) else None
    except FileNotFoundError:
        return
    if inner is None:
        if stat.S_ISREG(found.st_mode):
            yield Object(path + name, found.st_size, found.st_mtime)
        return
    try:
        yield from _walk(inner, f"{path}{name}/", start="")
    finally:
        os.close(inner)


def _tidy(name: str, *, at: int) -> None:
    """Remove a private file of a machine that died while it wrote."""
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        if name.startswith(TMP) and time.time_ns() - found.st_mtime_ns > STALE:
            os.unlink(name, dir_fd=at)
    except OSError:  # gone, or of somebody else
        pass


def _in_words(error: OSError, root: str, name: str) -> SharedTrouble:
    """Return the trouble that an error of the system is."""
    code, place = error.errno or 0, f"`{name}` in the shared folder `{root}`"
    if code == errno.ENOENT and not os.path.isdir(root):
        return SharedTrouble(
            "unreachable",
            f"there is no folder `{root}`",
            cure="mount the share, or make the folder and let your team write to it",
        )
    if code in {errno.EACCES, errno.EPERM}:
        return SharedTrouble(
            "denied",
            f"no permission for {place}",
            cure=f"ask for permission to read, and if you upload to write, all of `{root}`",
        )
    if code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return SharedTrouble(
            "full",
            f"the shared folder `{root}` is full",
            cure="free some space: `mlbuild cache gc --remote`",
        )
    if code == errno.EROFS:
        return SharedTrouble("readonly", f"the shared folder `{root}` cannot be written to")
    if code in _STRANGE:
        return SharedTrouble(
            "damaged",
            f"something in the way of {place} is a link, or no folder",
            cure="look who made it; a shared cache has plain folders and files only",
        )
    kind = "unreachable" if code in _GONE else "refused"
    return SharedTrouble(kind, f"{place}: {os.strerror(code)}")
