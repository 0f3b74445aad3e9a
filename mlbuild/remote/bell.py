"""Bell: ends waiting at once, from a signal or from another thread."""

import os
import select
from time import sleep


class Bell:
    """Can be rung once and for all."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._rung = False

    def ring(self) -> None:
        """End all waiting, now and later."""
        self._rung = True
        if self._fd < 0:
            return
        os.eventfd_write(self._fd, 1)

    def has_rung(self) -> bool:
        """Say whether it has rung."""
        return self._rung

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it rings; say whether it has rung."""
        ear = select.poll()
        ear.register(self._fd, select.POLLIN)
        ear.poll(seconds * 1000)
        return self._rung

    def pause(self, seconds: float) -> None:
        """Wait so long, whether it rings or not."""
        sleep(seconds)

    def close(self) -> None:
        """Give back what it holds."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
