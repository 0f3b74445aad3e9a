"""Recent: bytes by name that are kept at hand, as many as there is room for."""

from collections import OrderedDict
from threading import Lock


class Recent:
    """At most `room` bytes; what was not used for longest goes first. Safe for many threads."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._door = Lock()

    def keep(self, name: str, content: bytes) -> None:
        """Keep `content`, unless it is too large by itself."""
        with self._door:
            self._room += len(self._held.pop(name, b""))
            self._held[name] = content
            self._room -= len(content)
            while self._room < 0:
                _, oldest = self._held.popitem(last=False)
                self._room += len(oldest)

    def find(self, name: str) -> bytes | None:
        """Return what is kept under `name`."""
        with self._door:
            content = self._held.get(name)
            if content is not None:
                self._held.move_to_end(name)
            return content

    def drop(self, name: str) -> None:
        """Forget what is kept under `name`."""
        with self._door:
            self._room += len(self._held.pop(name, b""))
