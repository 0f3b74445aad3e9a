"""Streams: single large blobs of a cache server, by the ByteStream API.

A transfer that breaks off goes on where it stopped. Nothing larger than one piece is in memory.
"""

import os
import time
import uuid
from collections.abc import Iterator
from io import RawIOBase
from typing import Any

import zstandard

from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_channel import Channel, Gone
from mlbuild.shared.reapi_records import Spot
from mlbuild.shared.reapi_source import PIECE, Source
from mlbuild.shared.reapi_trouble import damaged

RESUMED = 3  # times that a transfer is taken up again without a single new byte
SLOWEST = 1 << 10  # bytes a second: a server that drips is never idle
_EMPTY = 100  # messages without bytes that are taken in a row
_WINDOW = 16 << 20  # bytes that unpacking may hold
_LEVEL = 1  # of zstd: the fastest


class Streams:
    """Writes and reads of one blob each. `prefix` stands in resource names before the hash."""

    def __init__(self, channel: Channel, *, prefix: str, zstd: bool) -> None:
        self._channel = channel
        self._prefix = prefix  # "blake3/" where the API wants it
        self._zstd = zstd

    def zipped(self, spot: Spot) -> bool:
        """Say whether the blob travels compressed."""
        return self._zstd and not spot.dense

    def write(self, spot: Spot, source: Source) -> None:
        """Send the bytes of `source`, whose hash the server checks."""
        name = self._write_name(spot)
        at, tries = 0, 0
        while True:
            try:
                answer = self._channel.up(wire.WRITE, self._pieces(name, spot, source, at=at))
            except Gone as error:
                raise self._channel.trouble("INTERNAL", "NOT_FOUND", method=wire.WRITE) from error
            except SharedTrouble as trouble:
                if trouble.kind != "unreachable":
                    raise
                was, at = at, self._written(name, spot)
                tries = tries + 1 if at <= was else 0
                if tries > RESUMED:
                    raise
                continue
            if not self.zipped(spot) and answer.committed_size != spot.size:
                raise self._channel.trouble(
                    "DATA_LOSS",
                    f"it kept {answer.committed_size} of {spot.size} bytes",
                    method=wire.WRITE,
                )
            return

    def _write_name(self, spot: Spot) -> str:
        kind = "compressed-blobs/zstd" if self.zipped(spot) else "blobs"
        return self._named(f"uploads/{uuid.uuid4()}/{kind}/{self._prefix}{spot.name}/{spot.size}")

    def _named(self, rest: str) -> str:
        instance = self._channel.address.instance
        return f"{instance}/{rest}" if instance else rest

    def _pieces(self, name: str, spot: Spot, source: Source, *, at: int) -> Iterator[Any]:
        """Yield the requests of a write from the byte `at` on."""
        pieces = source.pieces(at)
        if self.zipped(spot):
            pieces = _compressed(pieces, spot.size)
        request = wire.WriteRequest(resource_name=name, write_offset=at)
        for piece in pieces:
            if request.data:
                yield request
                at += len(request.data)
                request = wire.WriteRequest(write_offset=at)
            request.data = piece
        request.finish_write = True
        yield request

    def _written(self, name: str, spot: Spot) -> int:
        """Return from where an interrupted write goes on; a server that cannot say so: from 0."""
        if self.zipped(spot):
            return 0
        request = wire.WRITE_STATUS.request(resource_name=name)
        try:
            status = self._channel.call(wire.WRITE_STATUS, request)
        except SharedTrouble as trouble:
            if trouble.kind in {"unreachable", "slow"}:
                raise
            return 0
        return min(max(status.committed_size, 0), spot.size) if status is not None else 0

    def read(self, spot: Spot, fd: int, *, start: int, size: int) -> None:
        """Write `size` bytes of a blob from `start` on to their spot in the open file.

        Raises Gone when the server has no such blob.
        """
        got, tries = 0, 0
        while got < size:
            before = got
            try:
                for piece in self.pieces(spot, start=start + got, size=size - got):
                    os.pwrite(fd, piece, start + got)
                    got += len(piece)
            except SharedTrouble as trouble:
                tries = 0 if got > before else tries + 1
                if trouble.kind != "unreachable" or tries > RESUMED:
                    raise
                continue
            if got < size:
                raise damaged(self._channel.address.target, f"`{spot.name}` ends too early")

    def pieces(self, spot: Spot, *, start: int, size: int) -> Iterator[bytes]:
        """Yield at most `size` bytes of a blob from `start` on; raise Gone when there is none."""
        rest = f"{self._prefix}{spot.name}/{spot.size}"
        if self.zipped(spot):
            pieces = self._read(f"compressed-blobs/zstd/{rest}", start=start, limit=0)
            pieces = _unpacked(pieces, server=self._channel.address.target)
        else:
            limit = size if start + size < spot.size else 0
            pieces = self._read(f"blobs/{rest}", start=start, limit=limit)
        for piece in pieces:
            if len(piece) > size:
                raise damaged(self._channel.address.target, f"`{spot.name}` does not end")
            size -= len(piece)
            yield piece

    def _read(self, name: str, *, start: int, limit: int) -> Iterator[bytes]:
        request = wire.READ.request(
            resource_name=self._named(name), read_offset=start, read_limit=limit
        )
        empty, got, since = 0, 0, time.monotonic()
        for answer in self._channel.down(wire.READ, request):
            passed, got = time.monotonic() - since, got + len(answer.data)
            if passed > self._channel.patience and got < passed * SLOWEST:
                raise self._channel.trouble("DEADLINE_EXCEEDED", "", method=wire.READ)
            empty = 0 if answer.data else empty + 1
            if empty > _EMPTY:
                raise damaged(self._channel.address.target, f"`{name}` has no bytes and no end")
            if answer.data:
                yield answer.data


def _compressed(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    packer = zstandard.ZstdCompressor(level=_LEVEL).compressobj(size=size)
    for piece in pieces:
        if found := packer.compress(piece):
            yield found
    yield packer.flush()


def _unpacked(pieces: Iterator[bytes], *, server: str) -> Iterator[bytes]:
    """Yield what compressed `pieces` stand for, never more than one piece at once."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    joined: Any = _Joined(pieces)  # zstandard asks for no more than `read`
    with unpacker.stream_reader(joined, read_across_frames=True) as reader:
        while True:
            try:
                piece = reader.read(PIECE)
            except zstandard.ZstdError as error:
                raise damaged(server, "a blob cannot be unpacked") from error
            if not piece:
                return
            yield piece


class _Joined(RawIOBase):
    """Pieces as one file to read from; no `read` returns more than one piece."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        size = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
