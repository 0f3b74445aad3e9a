"""Blobs: a cache server's content-addressable storage, many blobs at once.

Small ones travel in batches, large ones as streams, all of them in parallel by a few threads.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

from blake3 import blake3

from mlbuild.core.digest import Digest, digest_of
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.reapi_channel import Channel, Gone
from mlbuild.shared.reapi_hashes import both, hashed
from mlbuild.shared.reapi_records import Spot
from mlbuild.shared.reapi_source import Source
from mlbuild.shared.reapi_streams import Streams
from mlbuild.shared.reapi_trouble import CODES, NOT_FOUND
from mlbuild.shared.squeeze import squeeze, unsqueeze
from mlbuild.store import files

THREADS = 8
BATCH = 2 << 20  # bytes of one batch
RANGE = 64 << 20  # bytes of one of several streams for one blob
_ASKED = 20_000  # digests in one question
_AROUND = 256  # bytes around a blob in a batch
_SAMPLED = 4 << 10  # bytes below which compression is not worth a thought

T = TypeVar("T")
Report = Callable[[str, bytes, str], None]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server offers."""

    function: int  # SHA256 or BLAKE3
    batch: int  # bytes of one batch
    zstd: bool  # for streams
    zstd_batch: bool
    updates: bool  # of the action cache


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob, what it must be, and the new files that it becomes."""

    digest: Digest | None  # None when only the server's own hash of it is known
    spot: Spot
    paths: tuple[tuple[str, int], ...]  # absolute, with modes


class Blobs:
    """The blobs of one instance of a server. Safe for many threads at once."""

    def __init__(self, channel: Channel, *, report: Report) -> None:
        self._channel = channel
        self._report = report
        self._crew = ThreadPoolExecutor(THREADS, thread_name_prefix="reapi")
        self._door = Lock()
        self._offers: Capabilities | None = None

    @property
    def offers(self) -> Capabilities:
        """What the server offers; the first look asks it."""
        with self._door:
            if self._offers is None:
                self._offers = self._ask()
            return self._offers

    @property
    def function(self) -> int:
        """The hash function as it stands in requests: 0, which all servers take, for SHA-256."""
        return 0 if self.offers.function == wire.SHA256 else self.offers.function

    def _ask(self) -> Capabilities:
        request = wire.CAPABILITIES.request(instance_name=self._channel.address.instance)
        answer = self._channel.call(wire.CAPABILITIES, request)
        if answer is None:
            raise self._channel.trouble("NOT_FOUND", "no such instance", method=wire.CAPABILITIES)
        cache = answer.cache_capabilities
        functions = set(cache.digest_functions)
        if not functions & {wire.SHA256, wire.BLAKE3}:
            raise SharedTrouble(
                "refused",
                f"the cache server `{self._channel.address.target}` offers neither SHA-256 nor "
                "BLAKE3 for this instance",
                cure="set up an instance with one of them and name it in `cache.url`",
            )
        return Capabilities(
            wire.BLAKE3 if wire.BLAKE3 in functions else wire.SHA256,
            min(cache.max_batch_total_size_bytes or BATCH, BATCH),
            wire.ZSTD in cache.supported_compressors,
            wire.ZSTD in cache.supported_batch_update_compressors,
            cache.action_cache_update_capabilities.update_enabled,
        )

    @property
    def streams(self) -> Streams:
        """The door for single large blobs."""
        prefix = "blake3/" if self.function else ""
        return Streams(self._channel, prefix=prefix, zstd=self.offers.zstd)

    def hash(self, content: bytes) -> bytes:
        """Return the server's hash of `content`."""
        return blake3(content).digest() if self.function else hashlib.sha256(content).digest()

    def spot(self, source: Source, digest: Digest) -> Spot:
        """Return where `source` belongs; raise InputError when it is not `digest`."""
        ours, theirs = both(source.pieces(0))
        if ours != digest:
            raise source.changed()
        worth = (self.offers.zstd or self.offers.zstd_batch) and digest.size >= _SAMPLED
        dense = not worth or source.is_dense(digest.size)
        return Spot(bytes.fromhex(ours.hash) if self.function else theirs, digest.size, dense)

    # questions

    def missing(self, spots: Iterable[Spot]) -> set[bytes]:
        """Return the hashes of those of `spots` that the server has not: one question for all."""
        once = {spot.hash: spot for spot in spots if spot.hash}
        found: set[bytes] = set()
        rest = iter(once.values())
        while part := list(islice(rest, _ASKED)):
            request = wire.FIND_MISSING.request(
                instance_name=self._channel.address.instance,
                blob_digests=[spot.digest() for spot in part],
                digest_function=self.function,
            )
            answer = self._channel.call(wire.FIND_MISSING, request)
            if answer is None:
                raise self._channel.trouble("NOT_FOUND", "", method=wire.FIND_MISSING)
            names = {digest.hash for digest in answer.missing_blob_digests}
            found |= {spot.hash for spot in part if spot.name in names}
        return found

    # there

    def send(self, sources: Sequence[tuple[Spot, Source]]) -> None:
        """Make sure that the server has these bytes."""
        missing = self.missing(spot for spot, _ in sources)
        absent = {spot.hash: (spot, source) for spot, source in sources if spot.hash in missing}
        small, large = self._parted(absent.values(), key=lambda it: it[0].size)
        streams = self.streams
        self.all(
            [partial(streams.write, *it) for it in large]
            + [partial(self._send_batch, batch) for batch in small]
        )

    def _parted(
        self, items: Iterable[T], *, key: Callable[[T], int]
    ) -> tuple[list[list[T]], list[T]]:
        """Return batches of what is small, and what is too large for one."""
        batches: list[list[T]] = []
        large: list[T] = []
        room = 0
        for item in items:
            size = key(item) + _AROUND
            if key(item) > self.offers.batch - _AROUND:
                large.append(item)
                continue
            if not batches or size > room:
                batches.append([])
                room = self.offers.batch
            batches[-1].append(item)
            room -= size
        return batches, large

    def _send_batch(self, batch: Sequence[tuple[Spot, Source]]) -> None:
        request = wire.BATCH_UPDATE.request(
            instance_name=self._channel.address.instance, digest_function=self.function
        )
        for spot, source in batch:
            request.requests.append(self._update(spot, source.read()))
        answer = self._channel.call(wire.BATCH_UPDATE, request, spread=True)
        answered = answer.responses if answer is not None else ()
        for response in answered:
            self._check(response.status, wire.BATCH_UPDATE)
        if len(answered) < len(batch):
            raise self._channel.trouble("DATA_LOSS", "it kept less", method=wire.BATCH_UPDATE)

    def _update(self, spot: Spot, content: bytes) -> Any:
        frame = squeeze(content) if self.offers.zstd_batch and not spot.dense else None
        if frame is None:
            return wire.UpdatedBlob(digest=spot.digest(), data=content)
        return wire.UpdatedBlob(digest=spot.digest(), data=frame, compressor=wire.ZSTD)

    def _check(self, status: Any, method: wire.Method) -> None:
        if status.code:
            code = CODES[status.code] if 0 < status.code < len(CODES) else "UNKNOWN"
            raise self._channel.trouble(code, status.message, method=method)

    # back

    def content(self, spot: Spot) -> bytes | None:
        """Return the bytes of a blob, unverified but of the right size; None when it is gone."""
        if not spot.hash:
            return spot.inline
        if spot.size <= self.offers.batch - _AROUND:
            return self._read_batch([spot]).get(spot.hash)
        try:
            content = b"".join(self.streams.pieces(spot, start=0, size=spot.size))
        except Gone:
            return None
        return content if len(content) == spot.size else None

    def contents(self, spots: Sequence[Spot]) -> dict[bytes, bytes]:
        """Return the verified bytes of those blobs that the server has, by its hash of them."""
        small, large = self._parted(spots, key=lambda spot: spot.size)
        found: dict[bytes, bytes | None] = {spot.hash: self.content(spot) for spot in large}
        for part in self.all([partial(self._read_batch, batch) for batch in small]):
            found |= part
        return {
            hash_: content
            for hash_, content in found.items()
            if content is not None and self.hash(content) == hash_
        }

    def bring(self, wanted: Sequence[Wanted]) -> bool:
        """Write blobs to their files; False when one is gone or wrong.

        What is written is verified. Then files may be there that are not whole.
        """
        inline = [it for it in wanted if not it.spot.hash]
        far = [it for it in wanted if it.spot.hash]
        small, large = self._parted(far, key=lambda it: it.spot.size)
        for it in large:
            os.close(os.open(it.paths[0][0], files.NEW, it.paths[0][1]))
        jobs: list[Callable[[], bool]] = [partial(self._bring_batch, batch) for batch in small]
        jobs += [partial(self._bring_range, it, start) for it in large for start in self._steps(it)]
        return (
            all(self._keep(it, it.spot.inline) for it in inline)
            and all(self.all(jobs))
            and all(self.all([partial(self._whole, it) for it in large]))
        )

    def _bring_batch(self, batch: Sequence[Wanted]) -> bool:
        found = self._read_batch([it.spot for it in batch])
        return all(it.spot.hash in found and self._keep(it, found[it.spot.hash]) for it in batch)

    def _read_batch(self, spots: Sequence[Spot]) -> dict[bytes, bytes]:
        """Return the bytes of those that the server has, unverified but of the right sizes."""
        request = wire.BATCH_READ.request(
            instance_name=self._channel.address.instance,
            digests=[spot.digest() for spot in spots],
            digest_function=self.function,
        )
        if self.offers.zstd_batch and not all(spot.dense for spot in spots):
            request.acceptable_compressors.append(wire.ZSTD)
        answer = self._channel.call(wire.BATCH_READ, request, spread=True)
        by_name = {spot.name: spot for spot in spots}
        found: dict[bytes, bytes] = {}
        for response in answer.responses if answer is not None else ():
            spot = by_name.get(response.digest.hash)
            if spot is None or response.status.code == NOT_FOUND:
                continue
            self._check(response.status, wire.BATCH_READ)
            content = self._opened(response, spot)
            if content is not None:
                found[spot.hash] = content
        return found

    def _opened(self, response: Any, spot: Spot) -> bytes | None:
        """Return the bytes in an answer; None when they are of another size."""
        content: bytes = response.data
        try:
            if response.compressor == wire.ZSTD:
                content = unsqueeze(content, size=spot.size)
        except SharedTrouble as trouble:
            self._report(spot.name, content, trouble.message)
            return None
        if len(content) != spot.size:
            self._report(spot.name, content, f"has {len(content)} bytes, not {spot.size}")
            return None
        return content

    def _keep(self, wanted: Wanted, content: bytes) -> bool:
        """Write verified bytes to their files; False when they are wrong."""
        right = self.hash(content) == wanted.spot.hash
        if wanted.digest is not None:
            right = digest_of(content) == wanted.digest
        if not right:
            self._report(wanted.spot.name, content, f"is not {wanted.digest or wanted.spot.name}")
            return False
        for path, mode in wanted.paths:
            files.write_new(path, content, mode=mode)
        return True

    def _steps(self, wanted: Wanted) -> range:
        """Return where the streams for a blob begin; it is one when it travels zipped."""
        size = wanted.spot.size
        return range(0, size, size if self.streams.zipped(wanted.spot) else RANGE)

    def _bring_range(self, wanted: Wanted, start: int) -> bool:
        spot = wanted.spot
        size = spot.size if self.streams.zipped(spot) else min(RANGE, spot.size - start)
        fd = os.open(wanted.paths[0][0], os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.streams.read(spot, fd, start=start, size=size)
        except Gone:
            return False
        except SharedTrouble as trouble:
            if trouble.kind != "damaged":
                raise
            self._report(spot.name, b"", trouble.message)
            return False
        finally:
            os.close(fd)
        return True

    def _whole(self, wanted: Wanted) -> bool:
        """Say whether a large file is right; then it gets its mode and its copies."""
        (path, mode), *others = wanted.paths
        digest = hashed(path)
        if not self._is(wanted, digest):
            self._report(wanted.spot.name, b"", f"is not {wanted.digest or wanted.spot.name}")
            return False
        os.chmod(path, mode)
        return all(files.copy_new(path, to, mode=mode) == digest for to, mode in others)

    def _is(self, wanted: Wanted, digest: Digest) -> bool:
        """Say whether the file of a large blob, which has this digest, is the right one."""
        if wanted.digest is not None or self.function:
            return digest == (wanted.digest or Digest(wanted.spot.name, wanted.spot.size))
        return both(Source(path=wanted.paths[0][0]).pieces(0))[1] == wanted.spot.hash

    # together

    def all(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Do all `jobs` in parallel; the first trouble ends them all."""
        if len(jobs) < 2:  # noqa: PLR2004 - alone
            return [job() for job in jobs]
        futures: list[Future[T]] = [self._crew.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)  # nobody writes to a folder that its owner has given up

    def close(self) -> None:
        """Give up all calls and end the threads."""
        self._channel.close()
        self._crew.shutdown(wait=True, cancel_futures=True)
