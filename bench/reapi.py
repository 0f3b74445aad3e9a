"""Reapi: actions through a server of the Remote Execution API, beside a bare gRPC client.

Both have the same command over the same input executed by the same buildbox-casd, four at a time:
ask what is missing, send it, execute, bring the output and what was printed.
"""

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import grpc
import pytest

from bench.measure import Bench, Figure, medians, write
from mlbuild.core.action import Action, InputRef, Output, OutputRef, Run
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content
from mlbuild.exec.base import Job, Staged
from mlbuild.remote.reapi.executor import Reapi
from mlbuild.shared import reapi_messages as wire
from tests.reapi_servers import CacheServer
from tests.reapi_workers import casd_worker, executing, host_runner

TOGETHER = 4
SCRIPT = 'tr a-z A-Z <"$0" >"$1"'
PATH = "/usr/bin:/bin"


def figures(bench: Bench) -> list[Figure]:
    """Compare them; nothing where no casd is installed."""
    try:
        with casd_worker(arguments=host_runner(), jobs=TOGETHER) as server:
            return [_figure(bench, server)]
    except pytest.skip.Exception:
        return []


def _figure(bench: Bench, server: CacheServer) -> Figure:
    number, serial = bench.size(100, 8), count()
    executor = Reapi(executing(server), folder=bench.place("own"), jobs=TOGETHER)
    folder = bench.place("jobs")
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        found = medians(
            {
                "ours": lambda: _all(lambda at: _ours(executor, folder, at), serial, number),
                "theirs": lambda: _all(lambda at: _theirs(channel, at), serial, number),
            },
            repeats=bench.size(5, 1),
        )
    executor.close()
    what = f"{number} actions through buildbox-casd"
    return Figure(what, "a bare gRPC client", found["ours"], found["theirs"], factor=1.5)


def _all(act: Callable[[int], str], serial: "count[int]", number: int) -> float:
    """Return the seconds that so many actions take, each over an input of its own."""
    numbers = [next(serial) for _ in range(number)]
    since = time.perf_counter()
    with ThreadPoolExecutor(TOGETHER) as crew:
        made = list(crew.map(act, numbers))
    taken = time.perf_counter() - since
    assert made == [_content(at).upper() for at in numbers]
    return taken


def _content(at: int) -> str:
    return f"input {at}\n"


def _ours(executor: Reapi, folder: str, at: int) -> str:
    content = _content(at).encode()
    place, scratch = f"{folder}/in-{at}", f"{folder}/scratch-{at}"
    write(place, content.decode())
    os.mkdir(scratch)
    run = Run(
        argv=(("/bin/sh",), ("-c",), (SCRIPT,), (InputRef("in.txt"),), (OutputRef("out.txt"),))
    )
    action = Action(f"//:a{at}", "//:a", "bench", run, ("in.txt",), (Output("out.txt"),))
    staged = Staged("in.txt", place, Content("f", digest_of(content)))
    done = executor.run(Job(action, run, (staged,), {}, {}, scratch, "", f"{folder}/log-{at}", ""))
    assert done.exit_code == 0
    with open(f"{done.out}/out.txt", encoding="utf-8") as file:
        return file.read()


def _theirs(channel: grpc.Channel, at: int) -> str:
    """Do what the API wants of a client, and no more."""
    blobs: dict[str, bytes] = {}

    def put(content: bytes) -> Any:
        name = hashlib.sha256(content).hexdigest()
        blobs[name] = content
        return wire.Digest(hash=name, size_bytes=len(content))

    root = wire.Directory()
    root.files.add(name="in.txt", digest=put(_content(at).encode()))
    command = wire.message("Command")(
        arguments=["/bin/sh", "-c", SCRIPT, "in.txt", "out/out.txt"], output_paths=["out"]
    )
    command.arguments[2] = f"mkdir out; {SCRIPT}"
    command.environment_variables.add(name="PATH", value=PATH)
    action = wire.message("Action")(
        command_digest=put(command.SerializeToString()),
        input_root_digest=put(root.SerializeToString()),
        do_not_cache=True,
    )
    name = put(action.SerializeToString())
    digests = [wire.Digest(hash=one, size_bytes=len(blobs[one])) for one in blobs]
    missing = _call(channel, wire.FIND_MISSING, blob_digests=digests).missing_blob_digests
    updates = [wire.UpdatedBlob(digest=one, data=blobs[one.hash]) for one in missing]
    _call(channel, wire.BATCH_UPDATE, requests=updates)
    *_, last = channel.unary_stream(
        wire.EXECUTE.path,
        request_serializer=wire.EXECUTE.request.SerializeToString,
        response_deserializer=wire.EXECUTE.response.FromString,
    )(wire.EXECUTE.request(action_digest=name, skip_cache_lookup=True))
    result = wire.message("ExecuteResponse").FromString(last.response.value).result
    (folder,) = result.output_directories
    tree = wire.Tree.FromString(_read(channel, folder.tree_digest))
    return _read(channel, tree.root.files[0].digest).decode()


def _call(channel: grpc.Channel, method: wire.Method, **fields: Any) -> Any:
    return channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )(method.request(**fields))


def _read(channel: grpc.Channel, digest: Any) -> bytes:
    content: bytes = _call(channel, wire.BATCH_READ, digests=[digest]).responses[0].data
    return content
