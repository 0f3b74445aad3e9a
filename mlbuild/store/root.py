"""Root: the folder that is a store, its version and its owner."""

import os

from mlbuild.errors import HostError
from mlbuild.store import files

VERSION = 1
_FOLDERS = ("cas", "cas-x", "trees", "ac", "manifests", "locks", "tmp", "runs", "checkpoints")


def check_root(root: str) -> None:
    """Make sure that `root` is a store of this user and version; make it when it is not there.

    Raises HostError for one of another user or of a newer mlbuild.
    """
    os.makedirs(root, 0o700, exist_ok=True)
    owner = os.stat(root)
    if owner.st_uid != os.geteuid():
        raise HostError(
            f"the store `{root}` belongs to another user (uid {owner.st_uid})",
            hints=("set MLBUILD_CACHE_DIR to a folder of your own",),
        )
    if owner.st_mode & 0o077:
        os.chmod(root, 0o700)
    version = _version(root)
    if not version.isdigit():  # absent or damaged
        make_root(root)
        version = _version(root)
    if version != b"%d" % VERSION:
        raise HostError(
            f"the store `{root}` has version {version.decode(errors='replace')!r}; "
            f"this mlbuild reads version {VERSION}",
            hints=("use the mlbuild that wrote it, or set MLBUILD_CACHE_DIR to another folder",),
        )


def make_root(root: str) -> None:
    """Make the folders of an empty store; the version comes last.

    A version that can be read stays the file that it is: it is the gate as well (`gate.py`).
    """
    for name in (*_FOLDERS, "quarantine"):
        os.makedirs(f"{root}/{name}", 0o700, exist_ok=True)
    name = f"{root}/version-{os.getpid()}"
    files.remove(name)
    files.write_new(name, b"%d\n" % VERSION, mode=0o600)
    try:
        os.link(name, f"{root}/version")
    except FileExistsError:
        if not _version(root).isdigit():
            if os.path.isdir(f"{root}/version"):
                os.rename(f"{root}/version", f"{root}/quarantine/{os.path.basename(name)}")
            os.rename(name, f"{root}/version")
    files.remove(name)


def _version(root: str) -> bytes:
    """Return what the store's version is said to be; nothing when it says nothing."""
    return (files.read_file(f"{root}/version") or b"").strip()
