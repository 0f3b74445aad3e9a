"""A small cache server in this process that lies, stalls and breaks off when it is told to.

It keeps everything in memory and offers what real servers here do not: BLAKE3, zstd, TLS, refusals.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any

import grpc
import zstandard
from blake3 import blake3

from mlbuild.shared import reapi_messages as wire

PIECE = 256 << 10
_WORKERS = 16


class Liar:
    """What the server has, and how it behaves. Honest until told otherwise."""

    def __init__(self) -> None:
        self.functions = [wire.SHA256]
        self.compressors: list[int] = []
        self.batch_compressors: list[int] = []
        self.batch = 0
        self.updates = True
        self.moves_stdout = False  # keeps what a result printed as a blob, as some servers do
        self.port = 0
        self.blobs: dict[str, bytes] = {}
        self.results: dict[str, Any] = {}
        self.refused: dict[str, grpc.StatusCode] = {}  # methods
        self.lies: dict[str, Callable[[Any], Any]] = {}  # what becomes of answers, by method
        self.broken = 0  # streams that are to break off in their middle
        self.stalled = ""  # the method that answers no more, until `go`
        self.go = Event()
        self.calls: Counter[str] = Counter()
        self.offsets: list[int] = []  # from which streams began
        self.names: list[str] = []  # of streams
        self.metadata: dict[str, str] = {}
        self._partial: dict[str, bytes] = {}
        self._door = Lock()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"grpc://127.0.0.1:{self.port}"

    def hash(self, content: bytes) -> str:
        """Return the hash by which the server keeps `content`."""
        if wire.BLAKE3 in self.functions:
            return blake3(content).hexdigest()
        return hashlib.sha256(content).hexdigest()

    # methods

    def GetCapabilities(self, _: Any, __: Any) -> Any:  # noqa: N802 - names of the API
        answer = wire.CAPABILITIES.response()
        cache = answer.cache_capabilities
        cache.digest_functions.extend(self.functions)
        cache.max_batch_total_size_bytes = self.batch
        cache.supported_compressors.extend(self.compressors)
        cache.supported_batch_update_compressors.extend(self.batch_compressors)
        cache.action_cache_update_capabilities.update_enabled = self.updates
        return answer

    def FindMissingBlobs(self, request: Any, _: Any) -> Any:  # noqa: N802 - likewise
        gone = [digest for digest in request.blob_digests if digest.hash not in self.blobs]
        return wire.FIND_MISSING.response(missing_blob_digests=gone)

    def BatchUpdateBlobs(self, request: Any, _: Any) -> Any:  # noqa: N802 - likewise
        answer = wire.BATCH_UPDATE.response()
        for blob in request.requests:
            content = blob.data
            if blob.compressor == wire.ZSTD:
                content = zstandard.decompress(content)
            assert self.hash(content) == blob.digest.hash
            self.blobs[blob.digest.hash] = content
            answer.responses.add(digest=blob.digest)
        return answer

    def BatchReadBlobs(self, request: Any, _: Any) -> Any:  # noqa: N802 - likewise
        answer = wire.BATCH_READ.response()
        for digest in request.digests:
            content = self.blobs.get(digest.hash)
            response = answer.responses.add(digest=digest)
            if content is None:
                response.status.code = grpc.StatusCode.NOT_FOUND.value[0]
            elif wire.ZSTD in request.acceptable_compressors:
                response.data, response.compressor = zstandard.compress(content), wire.ZSTD
            else:
                response.data = content
        return answer

    def GetActionResult(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - likewise
        result = self.results.get(request.action_digest.hash)
        if result is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such result")
        return result

    def UpdateActionResult(self, request: Any, _: Any) -> Any:  # noqa: N802 - likewise
        result = request.action_result
        if self.moves_stdout and result.stdout_raw:
            name = self.hash(result.stdout_raw)
            self.blobs[name] = result.stdout_raw
            result.stdout_digest.hash = name
            result.stdout_digest.size_bytes = len(result.stdout_raw)
            result.ClearField("stdout_raw")
        self.results[request.action_digest.hash] = result
        return result

    def Read(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802 - likewise
        *kind, hash_, _ = request.resource_name.split("/")
        self._note(request.resource_name, request.read_offset)
        content = self.blobs.get(hash_)
        if content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
            return
        content = content[request.read_offset :]
        if request.read_limit:
            content = content[: request.read_limit]
        if "zstd" in kind:
            content = zstandard.compress(content)
        breaks = self._breaks()
        for start in range(0, len(content), PIECE):
            if breaks and start >= len(content) // 2:
                context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
            yield wire.READ.response(data=content[start : start + PIECE])

    def Write(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:  # noqa: N802 - likewise
        first = next(requests)
        name, size = first.resource_name, int(first.resource_name.rpartition("/")[2])
        self._note(name, first.write_offset)
        content = bytearray(self._partial.get(name, b"")[: first.write_offset])
        breaks = self._breaks()
        for request in itertools.chain([first], requests):
            assert request.write_offset == len(content)
            content += request.data
            if breaks and len(content) >= size // 2:
                self._partial[name] = bytes(content)
                context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        whole = bytes(content)
        if "zstd" in name:
            whole = zstandard.ZstdDecompressor().decompressobj().decompress(whole)
        hash_ = name.split("/")[-2]
        assert (self.hash(whole), len(whole)) == (hash_, size)
        self.blobs[hash_] = whole
        return wire.WRITE.response(committed_size=len(content))

    def QueryWriteStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - likewise
        content = self._partial.get(request.resource_name)
        if content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such write")
        return wire.WRITE_STATUS.response(committed_size=len(content or b""))

    def _note(self, name: str, offset: int) -> None:
        with self._door:
            self.names.append(name)
            self.offsets.append(offset)

    def _breaks(self) -> bool:
        with self._door:
            self.broken, breaks = max(0, self.broken - 1), self.broken > 0
        return breaks

    # around each of them

    def answered(self, method: wire.Method) -> Callable[..., Any]:
        """Return what answers `method`, with whatever misbehaviour is on."""
        honest = getattr(self, method.name)

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self._begin(method.name, context)
            return self._told(method.name, honest(request, context))

        return answer

    def streamed(self, method: wire.Method) -> Callable[..., Any]:
        """Likewise, for one with many answers."""
        honest = getattr(self, method.name)

        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._begin(method.name, context)
            yield from self._told(method.name, honest(request, context))

        return answer

    def _begin(self, name: str, context: grpc.ServicerContext) -> None:
        with self._door:
            self.calls[name] += 1
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        if self.stalled == name:
            self.go.wait(30)
        if name in self.refused:
            context.abort(self.refused[name], "because")

    def _told(self, name: str, answer: Any) -> Any:
        lie = self.lies.get(name)
        return lie(answer) if lie else answer


@contextmanager
def running(liar: Liar, *, tls: tuple[bytes, bytes] | None = None) -> Iterator[Liar]:
    """Run the server until the block ends; `tls` is a key and its certificate."""
    server = grpc.server(
        ThreadPoolExecutor(_WORKERS), options=[("grpc.so_reuseport", 0)], handlers=[]
    )
    server.add_generic_rpc_handlers(tuple(_handlers(liar)))
    if tls:
        credentials = grpc.ssl_server_credentials([tls])
        liar.port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        liar.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield liar
    finally:
        liar.go.set()
        server.stop(0).wait()


def _handlers(liar: Liar) -> Iterator[Any]:
    unary = [wire.CAPABILITIES, wire.FIND_MISSING, wire.BATCH_UPDATE, wire.BATCH_READ]
    unary += [wire.GET_RESULT, wire.UPDATE_RESULT, wire.WRITE_STATUS]
    for method in unary:
        yield _handler(method, grpc.unary_unary_rpc_method_handler, liar.answered(method))
    yield _handler(wire.READ, grpc.unary_stream_rpc_method_handler, liar.streamed(wire.READ))
    yield _handler(wire.WRITE, grpc.stream_unary_rpc_method_handler, liar.answered(wire.WRITE))


def _handler(method: wire.Method, kind: Any, behaviour: Callable[..., Any]) -> Any:
    service, name = method.path.strip("/").split("/")
    handler = kind(
        behaviour,
        request_deserializer=method.request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    return grpc.method_handlers_generic_handler(service, {name: handler})
