"""The messages and methods of the Remote Execution API v2 that mlbuild speaks, and its own records.

Numbers and types are those of the public API. The messages live in a pool and a package of their
own, so that a process may have other copies of the API beside them: on the wire only the numbers
count. Enums are declared as the integers that they are on the wire.
"""

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf import message as message_module

SHA256 = 1  # of DigestFunction
BLAKE3 = 9
IDENTITY = 0  # of Compressor
ZSTD = 1
QUEUED = 2  # of ExecutionStage
COMPLETED = 4

# One line is `number name type`; `*` after the type says that there are any number of it.
_SCHEMA = """
message Digest
  1 hash string
  2 size_bytes int64
message Status
  1 code int32
  2 message string
  3 details Any*
message Any
  1 type_url string
  2 value bytes
message Duration
  1 seconds int64
  2 nanos int32
message Timestamp
  1 seconds int64
  2 nanos int32

message GetCapabilitiesRequest
  1 instance_name string
message ServerCapabilities
  1 cache_capabilities CacheCapabilities
  2 execution_capabilities ExecutionCapabilities
  4 low_api_version SemVer
  5 high_api_version SemVer
message SemVer
  1 major int32
  2 minor int32
  3 patch int32
  4 prerelease string
message CacheCapabilities
  1 digest_functions int32*
  2 action_cache_update_capabilities ActionCacheUpdateCapabilities
  4 max_batch_total_size_bytes int64
  6 supported_compressors int32*
  7 supported_batch_update_compressors int32*
message ActionCacheUpdateCapabilities
  1 update_enabled bool
message ExecutionCapabilities
  1 digest_function int32
  2 exec_enabled bool
  4 supported_node_properties string*
  5 digest_functions int32*

message FindMissingBlobsRequest
  1 instance_name string
  2 blob_digests Digest*
  3 digest_function int32
message FindMissingBlobsResponse
  2 missing_blob_digests Digest*
message BatchUpdateBlobsRequest
  1 instance_name string
  2 requests UpdatedBlob*
  5 digest_function int32
message UpdatedBlob
  1 digest Digest
  2 data bytes
  3 compressor int32
message BatchUpdateBlobsResponse
  1 responses UpdatedStatus*
message UpdatedStatus
  1 digest Digest
  2 status Status
message BatchReadBlobsRequest
  1 instance_name string
  2 digests Digest*
  3 acceptable_compressors int32*
  4 digest_function int32
message BatchReadBlobsResponse
  1 responses ReadBlob*
message ReadBlob
  1 digest Digest
  2 data bytes
  3 status Status
  4 compressor int32

message ReadRequest
  1 resource_name string
  2 read_offset int64
  3 read_limit int64
message ReadResponse
  10 data bytes
message WriteRequest
  1 resource_name string
  2 write_offset int64
  3 finish_write bool
  10 data bytes
message WriteResponse
  1 committed_size int64
message QueryWriteStatusRequest
  1 resource_name string
message QueryWriteStatusResponse
  1 committed_size int64
  2 complete bool

message GetActionResultRequest
  1 instance_name string
  2 action_digest Digest
  3 inline_stdout bool
  4 inline_stderr bool
  5 inline_output_files string*
  6 digest_function int32
message UpdateActionResultRequest
  1 instance_name string
  2 action_digest Digest
  3 action_result ActionResult
  5 digest_function int32
message ActionResult
  2 output_files OutputFile*
  3 output_directories OutputDirectory*
  4 exit_code int32
  5 stdout_raw bytes
  6 stdout_digest Digest
  7 stderr_raw bytes
  8 stderr_digest Digest
  9 execution_metadata ExecutedActionMetadata
  12 output_symlinks OutputSymlink*
message OutputFile
  1 path string
  2 digest Digest
  4 is_executable bool
  5 contents bytes
message OutputDirectory
  1 path string
  3 tree_digest Digest
  4 is_topologically_sorted bool
  5 root_directory_digest Digest
message OutputSymlink
  1 path string
  2 target string
message ExecutedActionMetadata
  1 worker string
  2 queued_timestamp Timestamp
  3 worker_start_timestamp Timestamp
  4 worker_completed_timestamp Timestamp
  7 execution_start_timestamp Timestamp
  8 execution_completed_timestamp Timestamp

message Tree
  1 root Directory
  2 children Directory*
message Directory
  1 files FileNode*
  2 directories DirectoryNode*
  3 symlinks SymlinkNode*
message FileNode
  1 name string
  2 digest Digest
  4 is_executable bool
message DirectoryNode
  1 name string
  2 digest Digest
message SymlinkNode
  1 name string
  2 target string
message Action
  1 command_digest Digest
  2 input_root_digest Digest
  6 timeout Duration
  7 do_not_cache bool
  9 salt bytes
  10 platform Platform
message Command
  1 arguments string*
  2 environment_variables Variable*
  3 output_files string*
  4 output_directories string*
  5 platform Platform
  6 working_directory string
  7 output_paths string*
message Variable
  1 name string
  2 value string
message Platform
  1 properties Property*
message Property
  1 name string
  2 value string
message ExecuteRequest
  1 instance_name string
  3 skip_cache_lookup bool
  6 action_digest Digest
  9 digest_function int32
message WaitExecutionRequest
  1 name string
message Operation
  1 name string
  2 metadata Any
  3 done bool
  4 error Status
  5 response Any
message ExecuteOperationMetadata
  1 stage int32
  2 action_digest Digest
  3 stdout_stream_name string
  4 stderr_stream_name string
message ExecuteResponse
  1 result ActionResult
  2 cached_result bool
  3 status Status
  5 message string
message CancelOperationRequest
  1 name string
message GetOperationRequest
  1 name string
message Empty
message PreconditionFailure
  1 violations Violation*
message Violation
  1 type string
  2 subject string
  3 description string

message Spot
  1 hash bytes
  2 size int64
  3 dense bool
  4 inline bytes
message Listing
  1 tree bytes
  2 files Spot*
message TreeRecord
  1 listing bytes
  2 far Spot
"""
_PACKAGE = "mlbuild.reapi"
_API = "build.bazel.remote.execution.v2"
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
}


def _declared(schema: str) -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor of a file with the messages of `schema`."""
    file = descriptor_pb2.FileDescriptorProto(
        name="mlbuild/reapi.proto", package=_PACKAGE, syntax="proto3"
    )
    for line in schema.split("\n"):
        words = line.split()
        if words[:1] == ["message"]:
            file.message_type.add(name=words[1])
        elif words:
            number, name, kind = words
            field = file.message_type[-1].field.add(name=name, number=int(number))
            field.label = _FIELD.LABEL_REPEATED if kind[-1] == "*" else _FIELD.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            field.type = _TYPES.get(kind, _FIELD.TYPE_MESSAGE)
            if kind not in _TYPES:
                field.type_name = f".{_PACKAGE}.{kind}"
    return file


DecodeError = message_module.DecodeError
_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_declared(_SCHEMA).SerializeToString())


NAMES = tuple(_pool.FindFileByName("mlbuild/reapi.proto").message_types_by_name)


def message(name: str) -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service: its path, what goes there and what comes back."""

    path: str
    request: Any
    response: Any

    @property
    def name(self) -> str:
        """Return the name without its service."""
        return self.path.rpartition("/")[2]


def _method(service: str, name: str, *, response: str = "", request: str = "") -> Method:
    return Method(
        f"/{service}/{name}",
        message(request or f"{name}Request"),
        message(response or f"{name}Response"),
    )


CAPABILITIES = _method(f"{_API}.Capabilities", "GetCapabilities", response="ServerCapabilities")
_CAS = f"{_API}.ContentAddressableStorage"
FIND_MISSING = _method(_CAS, "FindMissingBlobs")
BATCH_UPDATE = _method(_CAS, "BatchUpdateBlobs")
BATCH_READ = _method(_CAS, "BatchReadBlobs")
READ = _method("google.bytestream.ByteStream", "Read")
WRITE = _method("google.bytestream.ByteStream", "Write")
WRITE_STATUS = _method("google.bytestream.ByteStream", "QueryWriteStatus")
GET_RESULT = _method(f"{_API}.ActionCache", "GetActionResult", response="ActionResult")
UPDATE_RESULT = _method(f"{_API}.ActionCache", "UpdateActionResult", response="ActionResult")
EXECUTE = _method(f"{_API}.Execution", "Execute", response="Operation")
WAIT_EXECUTION = _method(f"{_API}.Execution", "WaitExecution", response="Operation")
_OPERATIONS = "google.longrunning.Operations"
CANCEL = _method(_OPERATIONS, "CancelOperation", response="Empty")
OPERATION = _method(_OPERATIONS, "GetOperation", response="Operation")

Digest = message("Digest")
UpdatedBlob = message("UpdatedBlob")
ActionResult = message("ActionResult")
OutputFile = message("OutputFile")
OutputDirectory = message("OutputDirectory")
WriteRequest = message("WriteRequest")
Tree = message("Tree")
Directory = message("Directory")
FileNode = message("FileNode")
Spot = message("Spot")
Listing = message("Listing")
TreeRecord = message("TreeRecord")
