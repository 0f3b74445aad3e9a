"""Session: the connections of one process to a server that executes actions."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mlbuild.errors import HostError
from mlbuild.exec.etc import prepare_etc
from mlbuild.remote.outage import PASSING, Outage
from mlbuild.remote.reapi.folder import Blob
from mlbuild.remote.reapi.operation import Operations
from mlbuild.remote.reapi.packer import Packer
from mlbuild.remote.reapi.server import Server
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_blobs import Blobs
from mlbuild.shared.reapi_channel import Channel
from mlbuild.store import files

_REMEMBERED = 1_000_000  # blobs that are known to be there


class Session:
    """What one process needs of a server; `folder` is private and outlives it."""

    def __init__(self, server: Server, *, folder: str) -> None:
        self.server = server
        self.folder = folder
        with files.disk_errors(folder):
            os.makedirs(folder, 0o700, exist_ok=True)
        self.etc = prepare_etc(folder)  # the `/etc` that actions see
        self.channel = Channel(server.address, server.access, patience=float(server.patience))
        self.blobs = Blobs(self.channel, report=lambda *_: None)
        with self.troubles():
            self._check()
            self.packer = Packer(self.blobs, folder)
            self.operations = Operations(self.channel, function=self.blobs.function)
        self._there: set[bytes] = set()

    def _check(self) -> None:
        """Refuse a server that executes nothing, or by another hash function than it keeps."""
        where = self.channel.address
        request = wire.CAPABILITIES.request(instance_name=where.instance)
        answer = self.channel.call(wire.CAPABILITIES, request)
        offered = answer.execution_capabilities if answer is not None else None
        if offered is None or not offered.exec_enabled:
            instance = f", instance `{where.instance}`," if where.instance else ""
            raise HostError(
                f"the server `{where.target}`{instance} executes nothing: it is only a cache",
                hints=(
                    f"check `executors.{self.server.name}.url`",
                    "as a shared cache it belongs in `cache.url`",
                ),
            )
        functions = {offered.digest_function, *offered.digest_functions} - {0}
        if functions and self.blobs.offers.function not in functions:
            raise HostError(
                f"the server `{where.target}` keeps bytes by another hash function than it "
                "executes actions by",
                hints=("ask who runs it to offer SHA-256 or BLAKE3 for both",),
            )

    @contextmanager
    def troubles(self) -> Iterator[None]:
        """Turn trouble with the server into what a user is told."""
        try:
            yield
        except SharedTrouble as trouble:
            kind = Outage if trouble.kind in PASSING else HostError
            raise kind(self.worded(trouble.message), hints=self.cures(trouble.cure)) from trouble

    def worded(self, message: str) -> str:
        """Return what is said of a cache server, said of this one."""
        return message.replace("cache server", "execution server")

    def cures(self, cure: str) -> tuple[str, ...]:
        """Return what to do, with the names of this server's settings."""
        return (cure.replace("`cache.", f"`executors.{self.server.name}."),) if cure else ()

    # what is there

    def send(self, blobs: Iterable[Blob]) -> None:
        """Make sure that the server has `blobs`, as far as it is not known to have them."""
        wanted = [blob for blob in blobs if blob.spot.hash not in self._there]
        self.blobs.send([(blob.spot, blob.source) for blob in wanted])
        self._remember(wanted)

    def resend(self, blobs: Iterable[Blob], *, named: Iterable[str]) -> bool:
        """Send what the server lacks of `blobs`, and those `named` whatever it says.

        Returns whether anything was sent.
        """
        found = {blob.spot.hash: blob for blob in blobs if blob.spot.size}
        self._there.difference_update(found)
        lacking = self.blobs.missing(blob.spot for blob in found.values())
        for hash_ in {bytes.fromhex(name) for name in named} & found.keys() - lacking:
            self.blobs.streams.write(found[hash_].spot, found[hash_].source)
            lacking.add(hash_)
        sent = [found[hash_] for hash_ in lacking]
        self.blobs.send([(blob.spot, blob.source) for blob in sent])
        self._remember(found.values())
        return bool(sent)

    def _remember(self, blobs: Iterable[Blob]) -> None:
        if len(self._there) > _REMEMBERED:
            self._there.clear()
        self._there.update(blob.spot.hash for blob in blobs)

    def close(self) -> None:
        """Give up all calls and end all threads."""
        self.blobs.close()
