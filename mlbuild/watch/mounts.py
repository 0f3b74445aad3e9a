"""Mounts: which folders lie on file systems that change without this kernel being told."""

import os
import re
from collections.abc import Iterable

TABLE = "/proc/self/mountinfo"
_PLACE = 4  # the field of a line that says where something is mounted
REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "ocfs2", "gfs2", "ncpfs", "davfs", "vboxsf", "vmhgfs", "prl_fs", "virtiofs"),
    }
)
LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs", "fuse.ext4", "fuse.ntfs-3g"})


def network_folder(folders: Iterable[str], *, table: str = TABLE) -> tuple[str, str] | None:
    """Return the first of `folders` that others may change unseen, and its kind of file system.

    `table` lists what is mounted, as the kernel does.
    """
    mounts = _mounts(table)
    if not any(_is_remote(kind) for _, kind in mounts):
        return None
    mounts.sort(key=lambda one: len(one[0]), reverse=True)
    for folder in folders:
        real = os.path.realpath(folder).rstrip("/") + "/"
        kind = next((kind for place, kind in mounts if real.startswith(place)), "")
        if _is_remote(kind):
            return folder, kind
    return None


def _mounts(table: str) -> list[tuple[str, str]]:
    """Return the places and kinds of what is mounted, the newest first."""
    found: list[tuple[str, str]] = []
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                words = left.split(" ")
                if len(words) > _PLACE and right:
                    place = re.sub(r"\\([0-7]{3})", lambda one: chr(int(one[1], 8)), words[_PLACE])
                    found.append((place.rstrip("/") + "/", right.split(" ")[0]))
    except OSError:
        return []
    return found[::-1]


def _is_remote(kind: str) -> bool:
    return kind in REMOTE or (kind.startswith("fuse") and kind not in LOCAL_FUSE)
