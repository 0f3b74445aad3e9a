"""Operation: one execution in a server, followed to its end over streams that may break.

A stream that breaks off is taken up again by WaitExecution. The name of an operation is noted in a
file: after the death of this process the next one that wants the same action follows it on.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mlbuild.remote.outage import Outage
from mlbuild.remote.reapi_ear import Cancelled, Ear
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_channel import Channel, Gone
from mlbuild.shared.reapi_records import Spot
from mlbuild.shared.reapi_trouble import CODES

_BREAKS = 6  # streams that may break soon, one after the other
_SOON = 5.0  # seconds
_FIRST = 0.2  # seconds before the second stream; each later one waits twice as long
_BROKEN = frozenset({"unreachable", "slow"})
_DETAILS = "grpc-status-details-bin"
_STATUS, _RESPONSE, _METADATA = map(
    wire.message, ("Status", "ExecuteResponse", "ExecuteOperationMetadata")
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an operation ended: with a status and, where something ran, a result."""

    status: Any
    result: Any  # ActionResult; an empty one when nothing ran
    message: str = ""  # from the server, for people

    @property
    def code(self) -> str:
        """The name of the status, such as `OK` and `FAILED_PRECONDITION`."""
        number = self.status.code
        return CODES[number] if 0 <= number < len(CODES) else "UNKNOWN"


class Operations:
    """The operations of one server. `folder` is a private one for their names."""

    def __init__(self, channel: Channel, *, folder: str, function: int) -> None:
        self._channel = channel
        self._folder = folder
        self._function = function

    def execute(
        self,
        action: Spot,
        *,
        fresh: bool,
        follow: bool,
        ear: Ear,
        tell: Callable[[Any], None],
    ) -> Verdict:
        """Have `action` executed; `fresh` means not from the server's own cache.

        With `follow`, an operation for it that another process has left is followed on.
        `tell` is given the metadata of each message. Raises Cancelled when the ear hears that,
        Outage when the server does not answer any more.
        """
        followed = _Followed(self._note(action) if follow else "")
        try:
            return self._execute(action, followed, fresh=fresh, ear=ear, tell=tell)
        except Cancelled:
            self._cancel(followed.name)
            followed.forget()
            raise

    def _execute(
        self,
        action: Spot,
        followed: "_Followed",
        *,
        fresh: bool,
        ear: Ear,
        tell: Callable[[Any], None],
    ) -> Verdict:
        breaks = 0
        if followed.name:  # some servers say nothing of it before its end
            tell(_METADATA())
        while True:
            since = time.monotonic()
            method = wire.WAIT_EXECUTION if followed.name else wire.EXECUTE
            trouble: SharedTrouble | None = None
            try:
                request = self._request(action, followed.name, fresh=fresh)
                for operation in ear.answers(self._channel, method, request):
                    followed.note(operation.name)
                    tell(_METADATA.FromString(operation.metadata.value))
                    if operation.done:
                        followed.forget()
                        return _verdict(operation)
            except Gone as gone:  # the server has forgotten the operation
                if method is wire.EXECUTE:
                    return _refusal(gone.__cause__)
                followed.forget()
            except SharedTrouble as error:
                trouble = error
                if trouble.kind not in _BROKEN:
                    if method is wire.EXECUTE:
                        return _refusal(trouble.__cause__)
                    followed.forget()  # the server does not know WaitExecution
            breaks = breaks + 1 if time.monotonic() - since < _SOON else 1
            if breaks > _BREAKS:
                message = trouble.message if trouble else "the server ends all streams too early"
                raise Outage(message, hints=(trouble.cure,) if trouble else ()) from trouble
            ear.wait(_FIRST * 2 ** (breaks - 1))

    def _request(self, action: Spot, name: str, *, fresh: bool) -> Any:
        if name:
            return wire.WAIT_EXECUTION.request(name=name)
        return wire.EXECUTE.request(
            instance_name=self._channel.address.instance,
            action_digest=action.digest(),
            skip_cache_lookup=fresh,
            digest_function=self._function,
        )

    def _cancel(self, name: str) -> None:
        """Ask the server to end an operation; one that cannot is not waited for."""
        if name:
            with suppress(SharedTrouble):
                self._channel.call(wire.CANCEL, wire.CANCEL.request(name=name))

    def _note(self, action: Spot) -> str:
        address = self._channel.address
        name = blake3(f"{address.target}/{address.instance} {action.name}".encode()).hexdigest()
        return f"{self._folder}/operation-{name[:32]}"


class _Followed:
    """The name of the operation that is followed, also in the file `note`; "" for none."""

    def __init__(self, note: str) -> None:
        self._note = note
        self.name = ""
        with (
            suppress(OSError, UnicodeDecodeError),
            open(note or os.devnull, encoding="utf-8") as file,
        ):
            self.name = file.read()

    def note(self, name: str) -> None:
        """Remember the name."""
        if name == self.name or not name:
            return
        self.name = name
        if not self._note:
            return
        with suppress(OSError):  # then it is not followed after our death
            os.makedirs(os.path.dirname(self._note), 0o700, exist_ok=True)
            with open(self._note, "w", encoding="utf-8") as file:
                file.write(name)

    def forget(self) -> None:
        """Forget the name: the operation is over, or unknown."""
        self.name = ""
        if self._note:
            with suppress(OSError):
                os.unlink(self._note)


def _verdict(operation: Any) -> Verdict:
    response = _RESPONSE.FromString(operation.response.value)
    status = operation.error if operation.error.code else response.status
    return Verdict(status, response.result, response.message)


def _refusal(error: Any) -> Verdict:
    """Return the verdict that a failed call is, with the details that travel beside it."""
    status = _STATUS(code=CODES.index(error.code().name), message=error.details() or "")
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS:
            with suppress(wire.DecodeError):
                status.MergeFrom(_STATUS.FromString(value))
    return Verdict(status, wire.ActionResult())
