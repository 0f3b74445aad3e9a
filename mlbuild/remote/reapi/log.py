"""Log: what a command prints elsewhere, while it is printed.

A server that offers it has a stream for that; else all of it comes with the result. No byte is
there twice, and none is left out.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_channel import Channel, Gone

_AGAIN = 0.5  # seconds before a stream that broke off is taken up again
_REST = 5.0  # seconds that a stream has to end when the result holds nothing


class Log:
    """Gives what is printed to `print_`, from whatever thread, one piece at a time."""

    def __init__(self, print_: Callable[[bytes], None], channel: Channel) -> None:
        self._print = print_
        self._channel = channel
        self._got = 0  # bytes of what is printed that were given on
        self._door = threading.Lock()
        self._over = threading.Event()
        self._reader: threading.Thread | None = None

    def follow(self, metadata: Any) -> None:
        """Begin to read the stream that the server names, where it names one."""
        name = metadata.stdout_stream_name
        if name and self._reader is None:
            self._reader = threading.Thread(target=self._read, args=(name,), daemon=True)
            self._reader.start()

    def finish(self, printed: bytes) -> None:
        """Give on what is missing of all that was `printed`."""
        if self._reader is not None and not printed:
            self._reader.join(_REST)
        self._over.set()
        with self._door:
            self._append(printed[self._got :])

    def close(self) -> None:
        """Stop reading, whatever is printed yet."""
        self._over.set()

    def _read(self, name: str) -> None:
        while not self._over.is_set():
            request = wire.READ.request(resource_name=name, read_offset=self._got)
            with suppress(SharedTrouble):
                try:
                    for answer in self._channel.down(wire.READ, request):
                        if not self._heard(answer.data):
                            return
                except Gone:
                    pass
                return
            self._over.wait(_AGAIN)

    def _heard(self, content: bytes) -> bool:
        with self._door:
            if self._over.is_set():
                return False
            self._append(content)
            return True

    def _append(self, content: bytes) -> None:
        if content:
            self._print(content)
            self._got += len(content)
