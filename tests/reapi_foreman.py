"""A small server in this process that claims to execute actions, and fails when it is told to."""

import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event
from typing import Any, TypeVar

import grpc

from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.reapi_trouble import CODES
from tests.reapi_liar import Liar, _handler, _handlers

OPERATION, METADATA = wire.message("Operation"), wire.message("ExecuteOperationMetadata")
RESPONSE, FAILURE = wire.message("ExecuteResponse"), wire.message("PreconditionFailure")
COMMAND, ACTION = wire.message("Command"), wire.message("Action")
_PATIENCE = 30.0  # seconds for what must happen


AnyForeman = TypeVar("AnyForeman", bound="Foreman")


class Foreman(Liar):
    """Says of every action that it printed `printed` and wrote `files`, unless told otherwise.

    `moods` are what the next executions do instead: "break" off, "forget" the operation at once,
    "stay" under way until `go`, "whisper": say nothing before `may_speak`, "lose NAME" the blob and
    say so, or end with a status. `codes` are the exit codes of the next ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.executes = True
        self.moods: deque[str] = deque()
        self.printed = b"printed\n"
        self.files: dict[str, bytes] = {"out.txt": b"made\n"}
        self.told = b""
        self.checkpoint: dict[str, bytes] = {}
        self.codes: list[int] = []
        self.may_speak = Event()
        self.together: Barrier | None = None  # for executions that end together
        self.peers: set[str] = set()
        self.live: list[bytes] = []  # what a stream of the log brings before the result
        self.executed: list[Any] = []  # requests
        self.cancelled: list[str] = []
        self.heard = Event()  # the end of that stream
        self._forgotten: set[str] = set()

    def GetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802 - names of the API
        answer = super().GetCapabilities(request, context)
        answer.execution_capabilities.exec_enabled = self.executes
        answer.execution_capabilities.digest_functions.extend(self.functions)
        return answer

    def Execute(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802 - likewise
        with self._door:
            self.executed.append(request)
            self.peers.add(context.peer())
            name = f"operation/{len(self.executed)}"
        metadata = METADATA(stage=3, stdout_stream_name="logs/1" if self.live else "")
        operation = OPERATION(name=name)
        operation.metadata.value = metadata.SerializeToString()
        mood = self.moods.popleft() if self.moods else ""
        if mood == "refuse":
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        if mood == "whisper":
            self.may_speak.wait(_PATIENCE)
        yield operation
        if self.together is not None:
            self.together.wait(_PATIENCE)
        if mood in {"break", "forget"}:
            if mood == "forget":
                self._forgotten.add(name)
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        if mood in {"stay", "whisper"}:
            self.go.wait(_PATIENCE)
        if self.live:
            self.heard.wait(_PATIENCE)
        yield self._done(operation, mood)

    def WaitExecution(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802 - likewise
        if request.name in self._forgotten:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such operation")
        yield self._done(OPERATION(name=request.name), "")

    def CancelOperation(self, request: Any, _: Any) -> Any:  # noqa: N802 - likewise
        self.cancelled.append(request.name)
        self.go.set()
        return wire.CANCEL.response()

    def Read(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802 - likewise
        if not request.resource_name.startswith("logs/"):
            yield from super().Read(request, context)
            return
        at = 0
        for piece in self.live:
            if at >= request.read_offset:
                yield wire.READ.response(data=piece)
            at += len(piece)
        self.heard.set()

    def command(self) -> Any:
        """Return the Command of the last execution."""
        action = ACTION.FromString(self.blobs[self.executed[-1].action_digest.hash])
        return COMMAND.FromString(self.blobs[action.command_digest.hash])

    def sent(self, path: str) -> bytes:
        """Return the bytes of a file in the input root of the last execution."""
        action = ACTION.FromString(self.blobs[self.executed[-1].action_digest.hash])
        digest, names = action.input_root_digest, path.split("/")
        for name in names:
            folder = wire.Directory.FromString(self.blobs[digest.hash])
            nodes = [*folder.files, *folder.directories]
            (digest,) = (node.digest for node in nodes if node.name == name)
        return self.blobs[digest.hash]

    def keep(self, content: bytes) -> Any:
        """Keep a blob; return its digest."""
        name = self.hash(content)
        self.blobs[name] = content
        return wire.Digest(hash=name, size_bytes=len(content))

    def _done(self, operation: Any, mood: str) -> Any:
        response = RESPONSE()
        word, _, rest = mood.partition(" ")
        if word == "lose":
            self._lose(response, rest)
        else:
            if word in CODES and word != "OK":
                response.status.code, response.status.message = CODES.index(word), "because"
            if word not in CODES or self.checkpoint:
                self._made(response.result)
        done = OPERATION(name=operation.name, done=True)
        done.response.value = response.SerializeToString()
        return done

    def _lose(self, response: Any, name: str) -> None:
        response.status.code = CODES.index("FAILED_PRECONDITION")
        failure = FAILURE()
        failure.violations.add(type="MISSING", subject=f"blobs/{name}/1")
        response.status.details.add(
            type_url="type.googleapis.com/google.rpc.PreconditionFailure",
            value=failure.SerializeToString(),
        )

    def _made(self, result: Any) -> None:
        result.exit_code = self.codes.pop(0) if self.codes else 0
        folders = {"out": self.files, "checkpoint": self.checkpoint}
        for path, files in folders.items():
            tree = wire.Tree()
            for name, content in sorted(files.items()):
                tree.root.files.add(name=name, digest=self.keep(content))
            if files or path == "out":
                digest = self.keep(tree.SerializeToString())
                result.output_directories.add(path=path, tree_digest=digest)
        result.stdout_digest.CopyFrom(self.keep(self.printed))
        if self.told:
            result.output_files.add(path="told", digest=self.keep(self.told))


class Hands(Foreman):
    """Really executes, in a folder like many others: what is in it may be anywhere."""

    def _made(self, result: Any) -> None:
        action = ACTION.FromString(self.blobs[self.executed[-1].action_digest.hash])
        command = self.command()
        with tempfile.TemporaryDirectory() as root:
            self._lay(action.input_root_digest, root)
            done = subprocess.run(
                list(command.arguments),
                cwd=root,
                env={one.name: one.value for one in command.environment_variables},
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
            )
            self.files = {path.name: path.read_bytes() for path in Path(root, "out").iterdir()}
            told = Path(root, "told")
            self.told = told.read_bytes() if told.exists() else b""
        self.printed = done.stdout
        super()._made(result)
        result.exit_code = done.returncode

    def _lay(self, digest: Any, place: str) -> None:
        """Write a folder of the storage to `place`."""
        folder = wire.Directory.FromString(self.blobs[digest.hash])
        for file in folder.files:
            Path(place, file.name).write_bytes(self.blobs[file.digest.hash])
            Path(place, file.name).chmod(0o755 if file.is_executable else 0o644)
        for below in folder.directories:
            Path(place, below.name).mkdir()
            self._lay(below.digest, f"{place}/{below.name}")
        for link in folder.symlinks:
            Path(place, link.name).symlink_to(link.target)


@contextmanager
def running(foreman: AnyForeman) -> Iterator[AnyForeman]:
    """Run the server until the block ends."""
    server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    stream, unary = grpc.unary_stream_rpc_method_handler, grpc.unary_unary_rpc_method_handler
    handlers = [*_handlers(foreman)]
    followed = (wire.EXECUTE, wire.WAIT_EXECUTION)
    handlers += [_handler(method, stream, foreman.streamed(method)) for method in followed]
    handlers.append(_handler(wire.CANCEL, unary, foreman.answered(wire.CANCEL)))
    server.add_generic_rpc_handlers(tuple(handlers))
    foreman.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield foreman
    finally:
        foreman.go.set()
        foreman.may_speak.set()
        server.stop(0).wait(_PATIENCE)
