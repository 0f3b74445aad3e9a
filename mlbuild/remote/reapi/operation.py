"""Operation: one execution in a server, followed to its end over streams that may break.

A stream that breaks off is taken up again by WaitExecution, by this process or, after its death, by
the next one that wants the same action.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mlbuild.remote.outage import Outage
from mlbuild.remote.reapi.diary import Diary
from mlbuild.remote.reapi.ear import Cancelled, Ear
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_channel import Channel, Gone
from mlbuild.shared.reapi_records import Spot
from mlbuild.shared.reapi_trouble import CODES

_BREAKS = 6  # streams that may break soon, one after the other
_SOON = 5.0  # seconds
_FIRST = 0.2  # seconds before the second stream; each later one waits twice as long
_FAREWELL = 5.0  # seconds that a server has to hear that nobody wants an operation any more
_BROKEN = frozenset({"unreachable", "slow"})
_DETAILS = "grpc-status-details-bin"
_STATUS, _RESPONSE, METADATA = map(
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
    """The operations of one server, which names blobs by `function`."""

    def __init__(self, channel: Channel, *, function: int) -> None:
        self._channel = channel
        self._function = function

    def id_of(self, action: Spot) -> str:
        """Return what names `action` on this server in our book: 64 hex digits."""
        address = self._channel.address
        return blake3(f"{address.target}/{address.instance} {action.name}".encode()).hexdigest()

    def execute(
        self,
        action: Spot,
        *,
        fresh: bool,
        diary: Diary,
        ear: Ear,
        tell: Callable[[Any], None],
    ) -> Verdict:
        """Have `action` executed, or follow on the operation for it that is in the diary.

        With `fresh`, not from the server's own cache. `tell` is given the metadata of each message.
        Raises Cancelled when the ear hears that, SharedTrouble or Outage when the server does not
        answer any more.
        """
        try:
            return self._execute(action, diary, fresh=fresh, ear=ear, tell=tell)
        except (Cancelled, KeyboardInterrupt):  # the latter where the main process is at work
            self.cancel(diary.operation or self._late_name(ear))
            diary.forget()
            raise

    def _execute(
        self,
        action: Spot,
        diary: Diary,
        *,
        fresh: bool,
        ear: Ear,
        tell: Callable[[Any], None],
    ) -> Verdict:
        breaks = 0
        if diary.operation:
            diary.follow()
            tell(METADATA())  # some servers say nothing of it before its end
        while True:
            since = time.monotonic()
            method = wire.WAIT_EXECUTION if diary.operation else wire.EXECUTE
            trouble: SharedTrouble | None = None
            try:
                request = self._request(action, diary.operation, fresh=fresh)
                for operation in ear.answers(self._channel, method, request):
                    diary.note(operation.name)
                    tell(METADATA.FromString(operation.metadata.value))
                    if operation.done:
                        diary.forget()
                        return verdict_of(operation)
            except Gone as gone:  # the server has forgotten the operation
                if method is wire.EXECUTE:
                    return _refusal(gone.__cause__)
                diary.forget()
            except SharedTrouble as error:
                trouble = error
                if trouble.kind not in _BROKEN:
                    if method is wire.EXECUTE:
                        return _refusal(trouble.__cause__)
                    diary.forget()  # the server does not know WaitExecution
            breaks = breaks + 1 if time.monotonic() - since < _SOON else 1
            if breaks > _BREAKS:
                raise trouble or Outage("the server ends all streams too early")
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

    def cancel(self, name: str) -> None:
        """Ask the server to end an operation; one that cannot is not waited for."""
        if name:
            with suppress(SharedTrouble):
                self._channel.call(wire.CANCEL, wire.CANCEL.request(name=name), within=_FAREWELL)

    def _late_name(self, ear: Ear) -> str:
        """Return the name of what was asked for just before nobody wanted it any more."""
        operation = ear.rest(_FAREWELL)
        return str(operation.name) if operation is not None else ""


def verdict_of(operation: Any) -> Verdict:
    """Return how an operation that is done has ended."""
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
