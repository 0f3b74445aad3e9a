"""A worker for BuildGrid: takes leases, has buildbox-run execute them. Run by BuildGrid's Python.

Words: host:port of BuildGrid, URL of a casd, then buildbox-run and its arguments.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import grpc
from buildgrid._protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as api
from buildgrid._protos.google.devtools.remoteworkers.v1test2 import bots_pb2, bots_pb2_grpc

PENDING, ACTIVE, COMPLETED, CANCELLED = 1, 2, 4, 5  # states of a lease
OK = 1  # status of a bot
BUSY, IDLE = 1, 10  # seconds that BuildGrid may take to answer


class Work:
    """One lease under way."""

    def __init__(self, lease: Any, words: list[str]) -> None:
        self.result: Any = None
        self._action = api.Action()
        lease.payload.Unpack(self._action)
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/action", "wb") as file:
                file.write(self._action.SerializeToString())
            paths = [f"--action={folder}/action", f"--action-result={folder}/result"]
            self._process = subprocess.Popen([*self._words, *paths], start_new_session=True)
            self._process.wait()
            result = api.ActionResult(exit_code=99)
            if os.path.exists(f"{folder}/result"):
                with open(f"{folder}/result", "rb") as file:
                    result = api.ActionResult.FromString(file.read())
            self.result = result

    def end(self) -> None:
        """End the command and all its children."""
        if self._process is not None:
            self._process.terminate()


def main() -> None:
    """Serve until killed."""
    address, casd, *words = sys.argv[1:]
    words = [words[0], f"--remote={casd}", *words[1:]]
    stub = bots_pb2_grpc.BotsStub(grpc.insecure_channel(address))
    session = bots_pb2.BotSession(bot_id=f"bot-{os.getpid()}", status=OK)
    device = session.worker.devices.add(handle="cpu")
    device.properties.add(key="OSFamily", value="linux")
    session = stub.CreateBotSession(bots_pb2.CreateBotSessionRequest(bot_session=session))
    works: dict[str, Work] = {}
    while True:
        for lease in session.leases:
            if lease.state in {PENDING, ACTIVE} and lease.id not in works:
                lease.state = ACTIVE
                works[lease.id] = Work(lease, words)
            if lease.state == CANCELLED and lease.id in works:
                works[lease.id].end()
            if lease.state == ACTIVE and works[lease.id].result is not None:
                lease.state = COMPLETED
                lease.result.Pack(works[lease.id].result)
        held = {lease.id for lease in session.leases}
        for id_ in works.keys() - held:
            works.pop(id_).end()
        request = bots_pb2.UpdateBotSessionRequest(name=session.name, bot_session=session)
        try:
            session = stub.UpdateBotSession(request, timeout=BUSY if works else IDLE)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        if works:
            time.sleep(0.05)


main()
