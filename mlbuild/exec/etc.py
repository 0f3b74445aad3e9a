"""The `/etc` that a sandbox shows: one folder, made once per host, mounted as a whole."""

import os

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


def prepare_etc(folder: str) -> str:
    """Return the prepared `/etc` below `folder`, made anew when the host's own has changed."""
    place = f"{folder}/etc-{_stamp()}"
    if os.path.isdir(place):
        return place
    fresh = f"{place}.{os.getpid()}"
    try:
        os.mkdir(fresh, 0o755)
        for name, content in _FILES.items():
            with open(f"{fresh}/{name}", "w", encoding="ascii") as file:
                file.write(content)
        for name in _COPIED:
            os.makedirs(os.path.dirname(f"{fresh}/{name}"), exist_ok=True)
            _copy(f"/etc/{name}", f"{fresh}/{name}")
        os.rename(fresh, place)
    except OSError as error:
        if os.path.isdir(place):  # another mlbuild was faster
            return place
        raise HostError(f"cannot prepare the /etc of sandboxes at `{place}`: {error}") from error
    return place


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
