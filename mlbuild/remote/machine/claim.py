"""Claim: which of several runners of one order, on whatever machines, is the one that runs it.

```
jobs/<id>/claim-<n>   written once, by the n-th runner that took the order over
```

The highest claim counts. Who wants the order writes the next one, which succeeds for one alone, but
only once the run of the present holder is over or silent. A holder that comes back after a silence
sees that it was followed, and tells nothing more.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic, sleep
from typing import Any

from mlbuild.remote.control import JOBS, Control
from mlbuild.remote.machine.report import EVERY
from mlbuild.remote.state import State
from mlbuild.shared.base import Bucket

_LIMIT = 1 << 16  # bytes of a claim
_LOOK = 0.5  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Claim:
    """Who runs an order."""

    number: int
    name: str  # the same for runners that are known not to live at the same time
    attempt: str  # as in the states that it tells
    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on `{self.host}`"


class Claims:
    """The claims of one order."""

    def __init__(self, bucket: Bucket, id_: str) -> None:
        self._bucket = bucket
        self._id = id_
        self._control = Control(bucket)

    def take(
        self, name: str, *, attempt: str, patience: float, hear: Callable[[Claim], None]
    ) -> Claim | None:
        """Return our claim once nobody else runs the order; None if somebody does, or it is done.

        A holder of another `name` that is silent counts as dead after `patience` seconds; `hear`
        is told whom we wait for.
        """
        while True:
            holder = self.holder() or self._unclaimed()
            if holder is not None and holder.name != name:
                hear(holder)
                if not self._is_silent(holder, patience):
                    return None
            if self._is_done():
                return None
            number = holder.number + 1 if holder else 0
            ours = Claim(number, name, attempt, os.uname().nodename, os.getpid())
            if self._bucket.write(self._path(number), _encoded(ours), fresh=True):
                return ours

    def holder(self) -> Claim | None:
        """Return the claim that counts."""
        prefix = f"{JOBS}/{self._id}/claim-"
        numbers = [one.name[len(prefix) :] for one in self._bucket.names(prefix)]
        highest = max((int(one) for one in numbers if one.isdigit()), default=-1)
        return self._claim(highest) if highest >= 0 else None

    def is_followed(self, claim: Claim) -> bool:
        """Say whether somebody took the order over from the holder of `claim`, or began anew."""
        known = self._bucket.read(self._path(claim.number), limit=_LIMIT) if claim.name else None
        if claim.name and known != _encoded(claim):
            return True
        return self._bucket.read(self._path(claim.number + 1), limit=_LIMIT) is not None

    def _unclaimed(self) -> Claim | None:
        """Return what stands for the claim of a runner that an agent has started."""
        state = self._control.state(self._id)
        if state is None or state.over or not state.pid:
            return None
        return Claim(-1, "", state.attempt, state.host, state.pid)

    def _claim(self, number: int) -> Claim:
        said = self._bucket.read(self._path(number), limit=_LIMIT)
        try:
            found: dict[str, Any] = json.loads(said or b"")
            name, attempt, host = (str(found[one]) for one in ("name", "attempt", "host"))
            return Claim(number, name, attempt, host, int(found["pid"]))
        except (ValueError, KeyError, TypeError):
            return Claim(number, "", "", "?", 0)

    def _is_done(self) -> bool:
        """Say whether the order has an outcome that stands."""
        state = self._control.state(self._id)
        return state is not None and state.phase == "ended"

    def _is_silent(self, holder: Claim, patience: float) -> bool:
        """Return True once its run is over, or no beat came for so long; False at a beat."""
        state = first = self._control.state(self._id)
        until = monotonic() + patience
        while monotonic() < until and not self.is_followed(holder):
            if state is not None and state.over and state.attempt == holder.attempt:
                return True
            if state != first and state is not None and not state.over:
                return False
            sleep(min(_LOOK, patience))
            state = self._control.state(self._id)
        return True

    def _path(self, number: int) -> str:
        return f"{JOBS}/{self._id}/claim-{number:08}"


class Held(Control):
    """The objects of a run whose claim is ours: when somebody follows us, we tell no more."""

    def __init__(self, bucket: Bucket, claims: Claims, claim: Claim) -> None:
        super().__init__(bucket)
        self._claims = claims
        self._claim = claim
        self._looked = monotonic()
        self._lost = False

    @property
    def is_lost(self) -> bool:
        """Say whether somebody took the order over; looked for once in a while."""
        if not self._lost and monotonic() - self._looked > EVERY:
            self._lost = self._claims.is_followed(self._claim)
            self._looked = monotonic()
        return self._lost

    def is_cancelled(self, id_: str) -> bool:
        """Say whether this run is to end."""
        return self.is_lost or super().is_cancelled(id_)

    def begin(self, id_: str) -> None:
        """Forget an earlier run that is over; the order and the claims stay."""
        state = self.state(id_)
        if state is not None and state.over:
            prefix = f"{JOBS}/{id_}/"
            names = [one.name for one in self._bucket.names(prefix)]
            kept = (f"{prefix}order", f"{prefix}claim-")
            self._bucket.remove([name for name in names if not name.startswith(kept)])

    def tell(self, id_: str, state: State) -> None:
        """Say how far the run is, while it is the one that counts."""
        if not self.is_lost:
            super().tell(id_, state)

    def add_log(self, id_: str, number: int, content: bytes) -> None:
        """Keep a piece of the log, while this run is the one that counts."""
        if not self.is_lost:
            super().add_log(id_, number, content)


def _encoded(claim: Claim) -> bytes:
    return json.dumps(asdict(claim)).encode()
