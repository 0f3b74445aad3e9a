"""Plain files, done carefully: reads, hashes, copies, removal, and the disk's errors in words.

Everything works on file descriptors or absolute paths and follows no link in the last component.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from blake3 import blake3

from mlbuild.core.digest import Digest
from mlbuild.errors import HostError
from mlbuild.hashing import threads

SHARED = 64 * 1024  # a file of at least so many bytes has one inode in cas and all trees
MAPPED = 4 * 1024 * 1024  # above, mapped and hashed by all cores; below, one read is faster
MOMENT = 315_532_800_000_000_000  # 1980-01-01 in ns: the mtime of all that the store keeps
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hang us
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEP = 64  # folders held open at once while a tree is removed
_FULL = {errno.ENOSPC, errno.EDQUOT}
_TIGHT = 1 << 20  # bytes; a disk with less is full
_NO_OFFLOAD = {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EBADF}
_serial = count()


@contextmanager
def disk_errors(root: str) -> Iterator[None]:
    """Turn what the system says about the store at `root` into a sentence for its user."""
    try:
        yield
    except OSError as error:
        raise _in_words(error, root) from error


@contextmanager
def full_disk(root: str) -> Iterator[None]:
    """Turn what has no room into a sentence, and no more: other errors may be no fault of disks."""
    try:
        yield
    except OSError as error:
        if error.errno not in {*_FULL, errno.EFBIG}:
            raise
        raise _in_words(error, root) from error


def fullness(root: str) -> HostError | None:
    """Return what to tell the user when the disk of the store at `root` is full."""
    try:
        room = os.statvfs(root)
    except OSError:
        return None
    # Root may use what is kept back for it.
    blocks = room.f_bfree if os.geteuid() == 0 else room.f_bavail
    no_names = bool(room.f_files) and not room.f_ffree  # file systems without a limit say 0
    return _no_space(root) if no_names or blocks * room.f_frsize < _TIGHT else None


def _no_space(root: str) -> HostError:
    return HostError(
        f"no space is left for the store `{root}` ({_free(root)})",
        hints=("free some space, or set MLBUILD_CACHE_DIR to a folder on a larger disk",),
    )


def _in_words(error: OSError, root: str) -> HostError:
    named = error.filename2 or error.filename
    place = os.fsdecode(named) if isinstance(named, str | bytes) else root
    if error.errno in _FULL:
        if place.startswith("/") and not f"{place}/".startswith(f"{root}/"):
            folder = os.path.dirname(place)
            return HostError(f"no space is left for `{place}` ({_free(folder)})")
        return _no_space(root)
    if error.errno == errno.EFBIG:
        named = f"`{place}`" if place != root else f"a file in the store `{root}`"
        return HostError(f"{named} would become larger than this host allows ({_free(root)})")
    if error.errno == errno.EROFS:
        return HostError(
            f"the store `{root}` lies on a read-only file system",
            hints=("set MLBUILD_CACHE_DIR to a folder that can be written",),
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return HostError(
            f"no permission for `{place}` in the store `{root}`",
            hints=("everything in the store belongs to one user: check its owner and modes",),
        )
    return HostError(f"the store `{root}` failed at `{place}`: {os.strerror(error.errno or 0)}")


def _free(root: str) -> str:
    """Say how much room the file system of `root` has."""
    try:
        room = os.statvfs(root)
    except OSError:
        return "free space unknown"
    return f"{room.f_bavail * room.f_frsize / 2**20:.1f} MiB free"


def is_file(path: str, *, size: int) -> bool:
    """Say whether `path` is a regular file of `size` bytes."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return found.st_size == size and stat.S_ISREG(found.st_mode)


def touch(path: str) -> bool:
    """Give the file at `path` the time of now; say whether that could be done."""
    try:
        os.utime(path, follow_symlinks=False)
    except OSError:
        return False
    return True


def below(folder: str) -> list[str]:
    """Return the paths of what lies in `folder`, sorted; nothing when there is no such folder."""
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_open(fd: int, size: int) -> bytes:
    """Return all bytes of the open file; `size` is a guess that makes one read enough."""
    content = os.read(fd, size + 1)
    if len(content) == size:
        return content
    parts = [content]
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def read_file(path: str) -> bytes | None:
    """Return the bytes of the regular file at `path`, or None when there is none."""
    try:
        fd = os.open(path, READ)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise
    try:
        return read_open(fd, os.fstat(fd).st_size)
    except IsADirectoryError:
        return None
    finally:
        os.close(fd)


def hash_open(fd: int, size: int) -> Digest:
    """Return the Digest of the open regular file of `size` bytes."""
    if size <= MAPPED:
        content = read_open(fd, size)
        return Digest(blake3(content).hexdigest(), len(content))
    hasher = blake3(max_threads=threads())
    hasher.update_mmap(f"/proc/self/fd/{fd}")
    return Digest(hasher.hexdigest(), os.fstat(fd).st_size)


def hash_path(path: str | bytes) -> Digest | None:
    """Return the Digest of the regular file at `path`, or None when there is none to be read."""
    try:
        fd = os.open(path, READ)
    except OSError:
        return None
    try:
        return hash_open(fd, os.fstat(fd).st_size)
    except OSError:
        return None
    finally:
        os.close(fd)


def write_open(fd: int, content: bytes) -> None:
    """Write all of `content`; the system may take it in pieces."""
    written = os.write(fd, content)
    while written < len(content):
        written += os.write(fd, memoryview(content)[written:])


def write_new(path: str, content: bytes, *, mode: int, moment: bool = False) -> None:
    """Write `content` to the new file `path`; leave nothing behind when that fails.

    With `moment`, its mtime is the one that all files of the store have.
    """
    fd = os.open(path, NEW, mode)
    try:
        write_open(fd, content)
        if mode & 0o077:
            os.fchmod(fd, mode)  # the umask may have taken bits
        if moment:
            os.utime(fd, ns=(MOMENT, MOMENT))
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def copy_new(source: str, to: str, *, mode: int) -> Digest:
    """Copy the file at `source` to the new file `to`; return the Digest of what was written.

    Blocks are shared where the file system can. Nothing is left behind when it fails.
    """
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        write = os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            _copy(read, write)
            os.fchmod(write, mode)
            os.utime(write, ns=(MOMENT, MOMENT))
            os.lseek(write, 0, os.SEEK_SET)
            return hash_open(write, os.fstat(write).st_size)
        except BaseException:
            os.unlink(to)
            raise
        finally:
            os.close(write)
    finally:
        os.close(read)


def _copy(read: int, write: int) -> None:
    """Copy the rest of one open file to another."""
    try:
        while os.copy_file_range(read, write, 1 << 30):
            pass
    except OSError as error:
        if error.errno not in _NO_OFFLOAD:
            raise
    while part := os.read(read, 1 << 20):
        write_open(write, part)


def open_folder(name: str, *, at: int | None = None) -> int:
    """Open a folder so that it can be read and changed, whatever its modes say to its owner."""
    try:
        fd = os.open(name, FOLDER, dir_fd=at)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=at)
        fd = os.open(name, FOLDER, dir_fd=at)
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700:  # noqa: PLR2004 - read, write, enter
            os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove(path: str) -> None:
    """Remove a file or a whole tree, whatever its modes and depth. It may be absent."""
    remove_at(None, path)


def remove_at(fd: int | None, name: str) -> None:
    """Likewise for `name` in the open folder."""
    try:
        os.unlink(name, dir_fd=fd)
    except IsADirectoryError:
        _remove_folder(fd, name)
    except (FileNotFoundError, NotADirectoryError):
        pass


def _remove_folder(fd: int | None, name: str) -> None:
    try:
        top = open_folder(name, at=fd)
        try:
            _empty_all(top)
        finally:
            os.close(top)
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        pass


def _empty_all(top: int) -> None:
    """Remove everything in the open folder."""
    while _empty(top, os.listdir(top), top=top, depth=0):
        pass


def _empty(fd: int, names: list[str], *, top: int, depth: int) -> bool:
    """Remove `names` in the open folder; say whether something too deep was moved up to `top`."""
    moved = False
    for name in names:
        try:
            os.unlink(name, dir_fd=fd)
            continue
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            pass
        if depth < 1:
            try:
                os.rmdir(name, dir_fd=fd)  # at the top, most are empty
                continue
            except OSError:
                pass
        if depth == _DEEP:
            os.rename(name, f".{os.getpid()}-{next(_serial)}", src_dir_fd=fd, dst_dir_fd=top)
            moved = True
            continue
        inner = open_folder(name, at=fd)
        try:
            moved |= _empty(inner, os.listdir(inner), top=top, depth=depth + 1)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=fd)
    return moved


def usage(path: str, *, seen: set[int]) -> int:
    """Return the bytes of disk below `path`; an inode in `seen` counts no more.

    What others remove meanwhile does not count.
    """
    total = 0
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as names:
        for entry in names:
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if found.st_ino not in seen:
                    seen.add(found.st_ino)
                    total += found.st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                total += usage(entry.path, seen=seen)
    return total
