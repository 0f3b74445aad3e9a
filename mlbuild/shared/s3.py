"""S3Bucket: a Bucket in S3 or in any server that speaks its protocol, over the vendor's client."""

import base64
import io
import threading
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import Any
from zlib import crc32

from mlbuild.shared.base import Object, SharedTrouble
from mlbuild.shared.incoming import Incoming
from mlbuild.shared.place import Place, place_of
from mlbuild.shared.s3_trouble import ABSENT, TAKEN, UNKNOWN, refusal, trouble

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 30.0  # without a single byte
BATCH = 1000  # objects that one request can list or remove


class S3Bucket:
    """Objects below a prefix of a bucket, with the AWS settings of this user.

    Its client is made when it is first needed, and holds one connection for each thread.
    """

    def __init__(
        self,
        place: Place,
        *,
        threads: int,
        connect_seconds: float = CONNECT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        batch: int = BATCH,
    ) -> None:
        self._place = place
        self._threads = threads
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._batch = batch
        self._lock = threading.Lock()
        self._made: Any = None
        self._knows_conditions = True  # until the server says otherwise
        self._knows_batches = True

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        """Return what is there of `size` bytes from `start`; None when there is no object."""
        words = {"Bucket": self._place.bucket, "Key": self._place.key(name)}
        if start or size >= 0:
            words["Range"] = f"bytes={start}-{start + max(size, 1) - 1 if size >= 0 else ''}"
        try:
            answer = self._client().get_object(**words)
            # This is the raw body. The vendor's own waits for all that is asked for, however long.
            with answer["Body"] as stream:
                content = Incoming(f"`{name}`", _reader(stream), answer.get("ContentLength", -1))
                part = "ContentRange" in answer
                return content.content(skip=0 if part else start, size=size, limit=limit)
        except SharedTrouble:
            raise
        except Exception as error:
            code, status = refusal(error)
            if code in ABSENT:
                return None
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise trouble(error, "GetObject", place=self._place) from error

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        """Keep `content`; with `fresh`, say whether it was the first under that name."""
        words: dict[str, Any] = {"Bucket": self._place.bucket, "Key": self._place.key(name)}
        # As a file it is sent in blocks, each of which may take its time; as bytes all at once.
        words["Body"] = io.BytesIO(content)
        # Bytes that are spoiled on their way are refused; a server that knows no such header
        # keeps them, and who reads them finds out.
        words["ChecksumCRC32"] = base64.b64encode(crc32(content).to_bytes(4, "big")).decode()
        if fresh and self._knows_conditions:
            words["IfNoneMatch"] = "*"
        try:
            self._client().put_object(**words)
        except SharedTrouble:
            raise
        except Exception as error:
            code, status = refusal(error)
            if code in TAKEN or status == HTTPStatus.PRECONDITION_FAILED:
                return False
            if "IfNoneMatch" in words and (code in UNKNOWN or status == HTTPStatus.NOT_IMPLEMENTED):
                self._knows_conditions = False
                return self.write(name, content, fresh=fresh)
            raise trouble(error, "PutObject", place=self._place) from error
        return True

    def names(self, prefix: str) -> Iterator[Object]:
        """Yield all objects whose names begin with `prefix`, a page of them at a time."""
        skipped = len(self._place.key(""))
        try:
            lister = self._client().get_paginator("list_objects_v2")
            pages = lister.paginate(
                Bucket=self._place.bucket,
                Prefix=self._place.key(prefix),
                PaginationConfig={"PageSize": self._batch},
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    modified = entry["LastModified"].timestamp()
                    yield Object(entry["Key"][skipped:], entry["Size"], modified)
        except SharedTrouble:
            raise
        except Exception as error:
            raise trouble(error, "ListObjectsV2", place=self._place) from error

    def remove(self, names: list[str]) -> None:
        """Remove objects, as many as possible with one request."""
        for at in range(0, len(names), self._batch):
            batch = names[at : at + self._batch]
            try:
                if not (self._knows_batches and self._removed_at_once(batch)):
                    for name in batch:
                        key = self._place.key(name)
                        self._client().delete_object(Bucket=self._place.bucket, Key=key)
            except SharedTrouble:
                raise
            except Exception as error:
                raise trouble(error, "DeleteObjects", place=self._place) from error

    def close(self) -> None:
        """Give back connections."""
        with self._lock:
            client, self._made = self._made, None
        if client is not None:
            client.close()

    def _removed_at_once(self, names: list[str]) -> bool:
        """Remove a batch; False when the server knows no such request."""
        doomed = [{"Key": self._place.key(name)} for name in names]
        try:
            answer = self._client().delete_objects(
                Bucket=self._place.bucket, Delete={"Objects": doomed, "Quiet": True}
            )
        except Exception as error:
            code, status = refusal(error)
            if code not in UNKNOWN and status not in {
                HTTPStatus.METHOD_NOT_ALLOWED,
                HTTPStatus.NOT_IMPLEMENTED,
            }:
                raise
            self._knows_batches = False
            return False
        for failed in answer.get("Errors", ()):
            raise _Failed(failed.get("Code", ""))
        return True

    def _client(self) -> Any:
        """Return the client that all threads share."""
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._connected()
        return self._made

    def _connected(self) -> Any:
        """Make a client; the session of the vendor's core has all that is needed of boto3."""
        import botocore.session  # noqa: PLC0415 - slow to import: only who uses S3 pays for it
        from botocore import UNSIGNED  # noqa: PLC0415 - likewise
        from botocore.config import Config  # noqa: PLC0415 - likewise

        place = self._place
        settings: dict[str, Any] = {
            "connect_timeout": self._connect_seconds,
            "read_timeout": self._idle_seconds,
            "max_pool_connections": self._threads,
            "tcp_keepalive": True,
            "retries": {"total_max_attempts": 1},  # our caller's, who has seen more
            # All that we read is verified by its digest, and many servers know no trailers:
            # `write` gives a checksum of its own.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "user_agent_extra": "mlbuild",
        }
        if place.path_style is not None:
            settings["s3"] = {"addressing_style": "path" if place.path_style else "virtual"}
        if place.anonymous:
            settings["signature_version"] = UNSIGNED
        session = botocore.session.Session(profile=place.profile or None)
        found = session.get_config_variable("data_path")
        session.register_component("data_loader", _descriptions(found))
        client = session.create_client(
            "s3",
            region_name=place.region or None,
            endpoint_url=place.endpoint or None,
            config=Config(**settings),
        )
        # "100-continue" costs a round trip, and a second where a server does not know it.
        client.meta.events.register_last("before-call.s3", _expect_nothing)
        return client


class _Failed(Exception):  # noqa: N818 - shaped like the vendor's
    """One object of a batch was not removed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        status = {"AccessDenied": 403, "NoSuchKey": 404}.get(code, 500)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def open_s3(url: str, *, threads: int) -> S3Bucket:
    """Return the bucket at `s3://bucket/prefix[?…]`, for so many threads; nothing is sent yet.

    Raises InputError for an address that cannot be meant.
    """
    return S3Bucket(place_of(url), threads=threads)


@cache
def _descriptions(path: str | None) -> Any:
    """Return what reads the vendor's description of S3, slowly: it keeps what it has read."""
    from botocore.loaders import create_loader  # noqa: PLC0415 - slow to import, as above

    return create_loader(path)


def _reader(stream: Any) -> Any:
    """Return a function that reads what has arrived; urllib3 below 2 can only wait for all."""
    if hasattr(stream, "read1"):
        return lambda size: stream.read1(size, decode_content=False)
    return lambda size: stream.read(min(size, 1 << 14), decode_content=False)


def _expect_nothing(params: dict[str, Any], **_: object) -> None:
    params["headers"].pop("Expect", None)
