"""Control: the small objects by which a submitter and a runner speak of one run.

```
jobs/<id>/order      by the submitter; always the same bytes
jobs/<id>/state      by the runner: how far it is, with a beat that shows that it lives
jobs/<id>/log-<n>    what the command printed, in pieces, each written once
jobs/<id>/cancel     by whoever wants it to end
jobs/<id>/taken      by a submitter that has the outcome
jobs/<id>/claim-<n>  by runners that come of themselves (`machine/claim.py`)
tools/<identity>     the tree that holds a tool which some machine lacks
```
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mlbuild.core.digest import Digest, digest_of
from mlbuild.remote.state import State, decode, encode
from mlbuild.shared.base import Bucket

JOBS = "jobs"
ORDER_LIMIT = 64 << 20  # bytes
STATE_LIMIT = 1 << 20
PIECE = 1 << 20  # bytes of a log in one object


class Control:
    """The objects of all runs in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def ids(self) -> Iterator[str]:
        """Yield the orders that have a state."""
        for one in self._bucket.names(f"{JOBS}/"):
            parts = one.name.split("/")
            if parts[-1] == "state":
                yield parts[1]

    def named(self, word: str) -> Sequence[str]:
        """Return the orders whose names begin with `word`, or whose actions' keys do, newest first.

        Looks into orders that nobody has begun, so this is for people who ask now and then.
        """
        orders = [one for one in self._bucket.names(f"{JOBS}/") if one.name.endswith("/order")]
        ids = [one.name.split("/")[1] for one in sorted(orders, key=lambda one: -one.modified)]
        return [id_ for id_ in ids if id_.startswith(word) or self.subject(id_)[1].startswith(word)]

    def subject(self, id_: str) -> tuple[str, str]:
        """Return the label and the key that an order is about; "" for what cannot be read."""
        state = self.state(id_)
        if state is not None and state.owner:
            return state.owner, state.key
        try:
            said: dict[str, Any] = json.loads(self.order(id_) or b"")
            return str(said["action"]["owner"]), str(said["key"])
        except (ValueError, KeyError, TypeError):
            return "", ""

    def has_order(self, id_: str) -> bool:
        """Say whether an order is there."""
        return any(True for _ in self._bucket.names(f"{JOBS}/{id_}/order"))

    def order(self, id_: str) -> bytes | None:
        """Return an encoded order."""
        return self._bucket.read(f"{JOBS}/{id_}/order", limit=ORDER_LIMIT)

    def keep_order(self, id_: str, content: bytes) -> None:
        """Keep an encoded order."""
        self._bucket.write(f"{JOBS}/{id_}/order", content)

    def state(self, id_: str) -> State | None:
        """Return how far a run is; None when nobody has begun it."""
        content = self._bucket.read(f"{JOBS}/{id_}/state", limit=STATE_LIMIT)
        return decode(content) if content is not None else None

    def tell(self, id_: str, state: State) -> None:
        """Say how far a run is."""
        self._bucket.write(f"{JOBS}/{id_}/state", encode(state))

    def log(self, id_: str, number: int) -> bytes | None:
        """Return a piece of a log, counted from 0."""
        return self._bucket.read(f"{JOBS}/{id_}/log-{number:08}", limit=PIECE)

    def add_log(self, id_: str, number: int, content: bytes) -> None:
        """Keep a piece of a log, of at most PIECE bytes."""
        self._bucket.write(f"{JOBS}/{id_}/log-{number:08}", content)

    def cancel(self, id_: str) -> None:
        """Ask a run to end."""
        self._bucket.write(f"{JOBS}/{id_}/cancel", b"")

    def is_cancelled(self, id_: str) -> bool:
        """Say whether somebody asked a run to end."""
        return self._bucket.read(f"{JOBS}/{id_}/cancel", limit=PIECE) is not None

    def take(self, id_: str) -> None:
        """Note that somebody has the outcome."""
        self._bucket.write(f"{JOBS}/{id_}/taken", b"")

    def is_taken(self, id_: str) -> bool:
        """Say whether somebody has the outcome."""
        return self._bucket.read(f"{JOBS}/{id_}/taken", limit=PIECE) is not None

    def tool(self, content: str) -> tuple[Digest, str] | None:
        """Return the tree, and the path in it, of a tool with this identity that was sent."""
        said = self._bucket.read(f"tools/{digest_of(content.encode()).hash}", limit=STATE_LIMIT)
        words = said.decode("utf-8", "replace").split("\n") if said is not None else []
        if len(words) != 3 or not words[1].isdigit():  # noqa: PLR2004 - hash, size, path
            return None
        return Digest(words[0], int(words[1])), words[2]

    def keep_tool(self, content: str, tree: Digest, *, path: str) -> None:
        """Note where a tool with this identity is, which has been sent."""
        said = f"{tree.hash}\n{tree.size}\n{path}".encode()
        self._bucket.write(f"tools/{digest_of(content.encode()).hash}", said)

    def clear(self, id_: str) -> None:
        """Forget an earlier attempt, all but the order."""
        prefix = f"{JOBS}/{id_}/"
        names = [one.name for one in self._bucket.names(prefix)]
        self._bucket.remove([name for name in names if not name.endswith("/order")])
