"""Clean: remove everything that a store keeps."""

import os

from mlbuild.store import files
from mlbuild.store.disk import DiskStore

_KEPT = ("ac", "manifests", "trees", "cas", "cas-x", "checkpoints", "quarantine", "runs", "kept")


def clean(store: DiskStore) -> int:
    """Remove all results and bytes; return how many bytes of disk that frees.

    A build that goes on meanwhile finds misses. Results go first: none ever names what is gone.
    """
    freed = 0
    with files.disk_errors(store.root):
        for name in _KEPT:
            aside = store.private.name()
            try:
                os.rename(f"{store.root}/{name}", aside)
            except FileNotFoundError:
                continue
            finally:
                os.makedirs(f"{store.root}/{name}", 0o700, exist_ok=True)
            freed += files.usage(aside, seen=set())
            files.remove(aside)
    return freed
