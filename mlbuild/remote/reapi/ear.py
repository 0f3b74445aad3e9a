"""Ear: hears a server's answers, and at once that nobody waits for them any more."""

import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_channel import Channel, Gone
from mlbuild.shared.reapi_messages import Method


class Cancelled(Exception):  # noqa: N818 - a wish
    """Nobody wants the execution any more."""


class Ear:
    """Listens to one stream after the other."""

    def __init__(self) -> None:
        self._heard: SimpleQueue[tuple[object, Any]] = SimpleQueue()
        self._stream: object = None  # the last one
        self._is_over = False

    def cancel(self) -> None:
        """End all listening and waiting, now and later; may be called in a signal handler."""
        self._is_over = True
        self._heard.put((None, None))

    def answers(self, channel: Channel, method: Method, request: Any) -> Iterator[Any]:
        """Yield the answers to `request`; raise Gone, SharedTrouble, or Cancelled."""
        if self._is_over:
            raise Cancelled
        stream = self._stream = object()
        # In a thread: nothing else ends the wait for an answer from outside.
        Thread(target=self._listen, args=(stream, channel, method, request), daemon=True).start()
        while True:
            whose, heard = self._heard.get()
            if whose is None:
                raise Cancelled
            if whose is not stream:  # of one that was given up
                continue
            if heard is None or isinstance(heard, Exception):
                self._stream = None
            if heard is None:
                return
            if isinstance(heard, Exception):
                raise heard
            yield heard

    def rest(self, seconds: float) -> Any | None:
        """Return the next answer of the last stream, also after `cancel`; None for none so soon."""
        deadline = time.monotonic() + seconds
        while self._stream is not None and (left := deadline - time.monotonic()) > 0:
            try:
                whose, heard = self._heard.get(timeout=left)
            except Empty:
                break
            if whose is self._stream:
                return None if isinstance(heard, Exception) else heard
        return None

    def wait(self, seconds: float) -> None:
        """Wait so long; raise Cancelled as soon as nobody wants that."""
        if self._is_over:
            raise Cancelled
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                whose, _ = self._heard.get(timeout=left)
            except Empty:
                return
            if whose is None:
                raise Cancelled

    def _listen(self, stream: object, channel: Channel, method: Method, request: Any) -> None:
        try:
            for answer in channel.down(method, request):
                self._heard.put((stream, answer))
        except (SharedTrouble, Gone) as trouble:
            self._heard.put((stream, trouble))
        except Exception as error:  # noqa: BLE001 - whoever listens must hear of it
            self._heard.put((stream, error))
        else:
            self._heard.put((stream, None))
