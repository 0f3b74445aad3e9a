"""Mounts: which folders lie on file systems that change without this kernel being told."""

import os
import re
from collections.abc import Iterable, Iterator

TABLE = "/proc/self/mountinfo"
REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "ocfs2", "gfs2", "ncpfs", "davfs", "vboxsf", "vmhgfs", "prl_fs", "virtiofs"),
    }
)
LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs", "fuse.ext4", "fuse.ntfs-3g"})


def network_folder(folders: Iterable[str]) -> tuple[str, str] | None:
    """Return the first of `folders` that others may change unseen, and its kind of file system."""
    mounts = list(_mounts())
    if not any(_is_remote(kind) for _, kind in mounts):
        return None
    mounts.sort(key=lambda one: len(one[0]), reverse=True)
    for folder in folders:
        real = os.path.realpath(folder).rstrip("/") + "/"
        kind = next((kind for place, kind in mounts if real.startswith(place)), "")
        if _is_remote(kind):
            return folder, kind
    return None


def _mounts() -> Iterator[tuple[str, str]]:
    """Yield where something is mounted, with a slash at the end, and its kind; later ones win."""
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return
    yield from reversed(list(parsed(lines)))


def parsed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield place and kind of each mount in the lines of a `mountinfo`."""
    for line in lines:
        left, _, right = line.partition(" - ")
        words = left.split(" ")
        if len(words) > 4 and right:  # noqa: PLR2004 - the fifth field is the place
            place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[4])
            yield place.rstrip("/") + "/", right.split(" ")[0]


def _is_remote(kind: str) -> bool:
    return kind in REMOTE or (kind.startswith("fuse") and kind not in LOCAL_FUSE)
