"""Layout: where everything of a shared cache lies in a bucket (docs/format.md).

All names begin with a scope: `main`, or one that the readers of `main` never look at, such as
`pr/17`. A policy of the bucket can so confine an identity to `pr/*`.
"""

import re

from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.listing import Piece

MAIN = "main"
ENTRIES, LISTINGS, PACKS, CHUNKS, BLOBS, MANIFESTS = KINDS = (
    "ac",
    "trees",
    "packs",
    "chunks",
    "blobs",
    "manifests",
)
_SCOPE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,7}")


def checked_scope(scope: str) -> str:
    """Return `scope`; raise SharedTrouble when it cannot be one."""
    if not _SCOPE.fullmatch(scope) or set(scope.split("/")) & set(KINDS):
        raise SharedTrouble(
            "refused",
            f"`{scope}` cannot be a scope of a shared cache",
            cure="use letters, digits, `.`, `-` and `_`, such as `main` or `pr/17`",
        )
    return scope


def place(scope: str, kind: str, name: str) -> str:
    """Return the name of the object of a kind that is called `name`, a key or a hash."""
    return f"{scope}/{kind}/{name[:2]}/{name}"


def place_of(piece: Piece, kind: str, *, scope: str) -> str:
    """Return the name of a pack or chunk that a listing in `scope` names."""
    name = place(MAIN if piece.in_main else scope, kind, piece.hash)
    return f"{name}.zst" if piece.squeezed else name
