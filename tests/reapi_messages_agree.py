"""Compares our messages with another copy of the API; run by itself, as it loads that copy."""

from types import ModuleType
from typing import Any

from buildgrid._protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as api
from buildgrid._protos.build.bazel.semver import semver_pb2
from buildgrid._protos.google.bytestream import bytestream_pb2
from buildgrid._protos.google.longrunning import operations_pb2
from buildgrid._protos.google.rpc import error_details_pb2, status_pb2
from google.protobuf import any_pb2, duration_pb2, empty_pb2, timestamp_pb2

from mlbuild.shared import reapi_messages as wire

MODULES: list[ModuleType] = [
    api,
    bytestream_pb2,
    operations_pb2,
    status_pb2,
    semver_pb2,
    any_pb2,
    duration_pb2,
    timestamp_pb2,
    empty_pb2,
    error_details_pb2,
]
INNER = {  # those that the API declares inside others
    "UpdatedBlob": api.BatchUpdateBlobsRequest.Request,
    "UpdatedStatus": api.BatchUpdateBlobsResponse.Response,
    "ReadBlob": api.BatchReadBlobsResponse.Response,
    "Variable": api.Command.EnvironmentVariable,
    "Property": api.Platform.Property,
    "Violation": error_details_pb2.PreconditionFailure.Violation,
}
OURS = {"Spot", "Listing", "TreeRecord"}
ENUM, INT32 = 14, 5
VALUES = {
    "SHA256": api.DigestFunction.SHA256,
    "BLAKE3": api.DigestFunction.BLAKE3,
    "IDENTITY": api.Compressor.IDENTITY,
    "ZSTD": api.Compressor.ZSTD,
    "QUEUED": api.ExecutionStage.QUEUED,
    "COMPLETED": api.ExecutionStage.COMPLETED,
}


def other(name: str) -> Any:
    """Return the descriptor of the other copy."""
    if name in INNER:
        return INNER[name].DESCRIPTOR
    return next(getattr(module, name).DESCRIPTOR for module in MODULES if hasattr(module, name))


def main() -> None:
    """Compare all fields by number, name, type and label."""
    for name in wire.NAMES:
        if name in OURS:
            continue
        theirs = other(name).fields_by_number
        for field in wire.message(name).DESCRIPTOR.fields:
            same = theirs[field.number]
            kind = INT32 if same.type == ENUM else same.type
            assert (field.name, field.type) == (same.name, kind), (name, field.name)
            assert field.is_repeated == same.is_repeated, (name, field.name)
    for name, value in VALUES.items():
        assert getattr(wire, name) == value, name
    print("all agree")  # noqa: T201 - read by the test


main()
