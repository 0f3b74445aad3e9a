"""Quarantine: where wrong bytes go that a shared cache sent, for somebody to look at."""

import json
import os
import threading
import time
from collections.abc import Callable

from blake3 import blake3

KEPT = 20  # objects
LARGEST = 16 << 20  # bytes kept of one


class Quarantine:
    """A folder of the local store. What is in it is never used again. Safe for many threads."""

    def __init__(
        self,
        folder: str,
        *,
        say: Callable[[str, tuple[str, ...]], None],
        clock: Callable[[], float] = time.time,  # noqa: TID251 - for people who look at it later
    ) -> None:
        self._folder = folder
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._said = False
        self.reported = 0

    def report(self, name: str, content: bytes, why: str) -> None:
        """Keep wrong bytes with what is wrong; say so the first time. Never raises."""
        with self._lock:
            self.reported += 1
            first, self._said = not self._said, True
        kept = self._keep(name, content, why)
        if first:
            place = (f"what came is kept in {self._folder}",) if kept else ()
            self._say(f"the shared cache sent wrong bytes for `{name}`: {why}", place)

    def _keep(self, name: str, content: bytes, why: str) -> bool:
        path = f"{self._folder}/{blake3(name.encode()).hexdigest()[:16]}"
        facts = {"name": name, "why": why, "size": len(content), "at": round(self._clock())}
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            if len(os.listdir(self._folder)) >= 2 * KEPT and not os.path.exists(path):
                return True
            with open(path, "wb") as file:
                file.write(content[:LARGEST])
            with open(f"{path}.json", "w", encoding="utf-8") as file:
                json.dump(facts, file)
        except OSError:
            return False  # a full disk: the build has other worries
        return True
