"""The `/etc` that a sandbox shows: one folder, made once per host, mounted as a whole."""

import errno
import fcntl
import os
from collections.abc import Iterator
from threading import get_native_id

from blake3 import blake3

from mlbuild.errors import HostError

# Who looks up a name finds one user; everything else of the host's list of users is its own affair.
_FILES = {
    "passwd": "mlbuild:x:1000:1000::/tmp/home:/bin/sh\n",
    "group": "mlbuild:x:1000:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
}
_COPIED = ("ld.so.cache", "alternatives", "ssl", "pki/tls", "pki/ca-trust/extracted")
_LARGEST = 16 << 20  # bytes; no certificate bundle comes near
_MOMENT = 315_532_800_000_000_000  # 1980-01-01 in ns: the mtime of all files there
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def prepare_etc(folder: str) -> str:
    """Return the prepared `/etc` below `folder`.

    It is made anew when the host's own has changed, or when it is not what it was: somebody
    wrote there, or power failed before all of it was on the disk.
    """
    place = f"{folder}/etc-{_stamp()}"
    if _is_sealed(place):
        return place
    try:
        lock = os.open(f"{folder}/etc.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # One at a time: else the second removes what the first has begun to use.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_sealed(place):
                _replace(place)
        finally:
            os.close(lock)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise HostError(f"cannot prepare the /etc of sandboxes at `{place}`: {error}") from error
    return place


def _replace(place: str) -> None:
    """Make the folder `place` anew, and its seal."""
    fresh = f"{place}.{os.getpid()}"
    try:
        _remove(fresh)  # a killed process may have had our number
        _make(fresh)
        with open(f"{fresh}.seal", "w", encoding="ascii") as file:
            file.write(_looks(fresh))
        _remove(place)
        os.replace(f"{fresh}.seal", f"{place}.seal")
        os.rename(fresh, place)
    except OSError:
        _remove(fresh)
        _remove(f"{fresh}.seal")
        raise


def prepare_user(folder: str, uid: int, gid: int) -> str:
    """Return a folder with a `passwd` and a `group` in which `mlbuild` has these numbers."""
    place = f"{folder}/user-{uid}-{gid}"
    contents = {
        "passwd": f"mlbuild:x:{uid}:{gid}::/tmp/home:/bin/sh\n",
        "group": f"mlbuild:x:{gid}:\n",
    }
    os.makedirs(place, mode=0o700, exist_ok=True)
    for name, content in contents.items():
        try:
            with open(f"{place}/{name}", encoding="ascii") as file:
                if file.read() == content:
                    continue
        except (OSError, UnicodeDecodeError):
            pass
        fresh = f"{place}/{name}.{os.getpid()}-{get_native_id()}"  # threads run jobs too
        with open(fresh, "w", encoding="ascii") as file:
            file.write(content)
        os.chmod(fresh, 0o644)
        os.replace(fresh, f"{place}/{name}")
    return place


def _make(fresh: str) -> None:
    os.mkdir(fresh, 0o755)
    for name, content in _FILES.items():
        with open(f"{fresh}/{name}", "w", encoding="ascii") as file:
            file.write(content)
    for name in _COPIED:
        os.makedirs(os.path.dirname(f"{fresh}/{name}"), exist_ok=True)
        _copy(f"/etc/{name}", f"{fresh}/{name}")
    for entry in _files(fresh):
        os.utime(entry.path, ns=(_MOMENT, _MOMENT), follow_symlinks=False)


def _is_sealed(place: str) -> bool:
    """Say whether the folder at `place` looks as it did when it was made."""
    try:
        with open(f"{place}.seal", encoding="ascii") as file:
            return file.read() == _looks(place)
    except (OSError, UnicodeDecodeError):
        return False


def _looks(place: str) -> str:
    """Return a digest of what `stat` says of files, and of the names of links, at `place`."""
    start, parts = len(place), []
    for entry in _files(place):
        look = ""
        if not entry.is_symlink():
            it = entry.stat(follow_symlinks=False)
            look = f"{it.st_mode} {it.st_size} {it.st_mtime_ns}"
        parts.append(f"{entry.path[start:]}\0{look}")
    return blake3("\0".join(sorted(parts)).encode("utf-8", "surrogateescape")).hexdigest()


def _files(folder: str) -> "Iterator[os.DirEntry[str]]":
    """Yield all that lies below `folder` and is no folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry


def _remove(path: str) -> None:
    """Remove a file or a folder. It may be absent."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        from shutil import rmtree  # noqa: PLC0415 - only after damage

        rmtree(path)


def _stamp() -> str:
    """Return a text that changes when what is copied changes."""
    parts = [repr(sorted(_FILES.items()))]
    for name in (*_COPIED, "ssl/certs", "pki/tls/certs"):
        try:
            status = os.stat(f"/etc/{name}")
        except OSError:
            continue
        parts.append(f"{name} {status.st_mtime_ns} {status.st_ino} {status.st_size}")
    return blake3("\n".join(parts).encode()).hexdigest()[:16]


def _copy(source: str, to: str) -> None:
    """Copy a file, link or folder; what this user may not read stays out, as do private keys."""
    try:
        if os.path.islink(source):
            os.symlink(os.readlink(source), to)
        elif os.path.isdir(source):
            names = os.listdir(source)
            os.mkdir(to, 0o755)
            for name in names:
                if name != "private":
                    _copy(f"{source}/{name}", f"{to}/{name}")
        elif os.path.isfile(source) and os.stat(source).st_size <= _LARGEST:
            with open(source, "rb") as file:
                content = file.read()
            with open(to, "wb") as copy:
                copy.write(content)
    except (PermissionError, FileNotFoundError):
        return
