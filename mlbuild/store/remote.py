"""Remote: what a local store keeps about a shared cache (docs/format.md).

```
<root>/far/ab/<key>.<id>   Results whose bytes are there, so that the next build need not ask
      /uploads/<id>/<key>  the local result of the key is to be uploaded: empty, or "result" where
                           its bytes are not
```

A file below `uploads` goes when the result is in the shared cache, not before: whatever is killed,
somebody later finds it. What is below `far` may be lost at any time.
"""

import os
import time
from collections.abc import Iterable

from mlbuild import state
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Result, decode, encode
from mlbuild.errors import InputError
from mlbuild.sharing import Sharing
from mlbuild.store import files

_LENGTH = 16  # digits of an id
_REST = 300 * 10**9  # ns
_BARE = b"result"


class Remote:
    """The shared cache that `sharing` names, as the store at `root` knows it."""

    def __init__(self, root: str, sharing: Sharing) -> None:
        place = (sharing.url, sharing.scope)
        self.id = _id(place)
        self.queue = f"{root}/uploads/{self.id}"
        # What counted with other keys need not count any more.
        self._trust = _id((*place, "", *sharing.trusted_keys))
        self._far = f"{root}/far"

    def recall(self, key: str) -> Result | None:
        """Return a result that the shared cache had; its bytes may be gone there meanwhile."""
        stored = files.read_file(self._path(key))
        try:
            return None if stored is None else decode(stored)
        except (InputError, ValueError, KeyError, TypeError):
            self.forget(key)
            return None

    def remember(self, key: str, result: Result) -> None:
        """Keep in mind that the shared cache has `result`."""
        state.keep(self._path(key), encode(result))

    def forget(self, key: str) -> None:
        """Ask again for `key` the next time."""
        files.remove(self._path(key))

    def _path(self, key: str) -> str:
        return f"{self._far}/{key[:2]}/{key}.{self._trust}"

    def enqueue(self, key: str, *, whole: bool) -> None:
        """Note that the local result of `key` is to be uploaded, and its bytes if `whole`."""
        path = f"{self.queue}/{key}"
        try:
            files.write_new(path, b"" if whole else _BARE, mode=0o600)
        except FileNotFoundError:
            os.makedirs(self.queue, 0o700, exist_ok=True)
            self.enqueue(key, whole=whole)
        except FileExistsError:
            return

    def is_whole(self, key: str) -> bool:
        """Say whether the bytes of a queued result are to be uploaded too."""
        return files.read_file(f"{self.queue}/{key}") != _BARE

    def dequeue(self, key: str) -> None:
        """Note that there is nothing more to upload for `key`."""
        files.remove(f"{self.queue}/{key}")

    def queued(self) -> list[str]:
        """Return the keys whose results are to be uploaded, sorted."""
        try:
            return sorted(name for name in os.listdir(self.queue) if "." not in name)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def note_failure(self) -> None:
        """Note that an upload has failed just now."""
        state.keep(f"{self.queue}/failed.at", b"")

    def has_rested(self) -> bool:
        """Say whether the last failure is so long ago that what is queued may be tried again."""
        try:
            failed = os.stat(f"{self.queue}/failed.at").st_mtime_ns
        except OSError:
            return True
        return not 0 <= time.time_ns() - failed < _REST


def _id(words: Iterable[str]) -> str:
    return digest_of("\0".join(words).encode("utf-8", "surrogateescape")).hash[:_LENGTH]
