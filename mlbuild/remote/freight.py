"""Freight: trees on their way to another machine or back, as the objects of a shared cache.

So each piece travels once, is verified where it arrives, and resumes where it was cut off.
"""

from mlbuild.core.digest import Digest
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Result
from mlbuild.core.tree import Tree, digest_tree
from mlbuild.shared.base import Bucket, Shared
from mlbuild.shared.bucket_cache import BucketCache

SCOPE = "freight"


def freight_in(bucket: Bucket, *, memo: str = "") -> "Freight":
    """Return the freight of a bucket; `memo` is a private folder for this bucket, "" for none."""
    return Freight(BucketCache(bucket, scope=SCOPE, read_scopes=(SCOPE,), memo=memo))


def bucket_at(url: str) -> Bucket:
    """Return the bucket at a URL, with this machine's own credentials for it."""
    from mlbuild.shared.opened import open_bucket  # noqa: PLC0415 - start-up: few have one
    from mlbuild.sharing import Sharing  # noqa: PLC0415 - likewise

    return open_bucket(Sharing(url=url))


class Freight:
    """Trees by digest, in a Shared that holds them for everybody who knows the digest."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def send(self, tree: Tree, folder: str) -> Digest:
        """Send the files of `tree`, which lie in the absolute `folder`.

        Raises InputError for a file that is not what `tree` says, and SharedTrouble.
        """
        digest = digest_tree(tree)
        self._shared.send_tree(tree, folder)
        label = _label(digest)
        self._shared.publish(key_of(label), Result((), digest), manifest=label)
        return digest

    def bring(self, digest: Digest, folder: str) -> Tree | None:
        """Write a tree into the empty `folder`; None when its bytes are not there, or wrong."""
        found = self._shared.lookup(key_of(_label(digest)))
        if found is None or found.tree != digest:
            return None
        return self._shared.bring_tree(digest, folder)

    def close(self) -> None:
        """Give back connections."""
        self._shared.close()


def _label(digest: Digest) -> bytes:
    """Return what stands for the manifest: its digest is the key that the tree is found by."""
    return f"freight {digest.hash} {digest.size}".encode()
