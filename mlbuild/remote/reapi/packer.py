"""Packer: files and folders of this host as a server's blobs, each hashed once.

Servers mostly name bytes by SHA-256, our keys by BLAKE3: what has been hashed is remembered, in
memory for inputs, and on disk, by the stamps of files, for large folders.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from blake3 import blake3

from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Staged
from mlbuild.exec.sandbox import InputChanged
from mlbuild.remote.reapi.folder import Blob, Folder, Parcel, packed
from mlbuild.shared.reapi_blobs import Blobs
from mlbuild.shared.reapi_hashes import both, hashed
from mlbuild.shared.reapi_records import Spot
from mlbuild.shared.reapi_source import Source

_SMALL = 64 << 10  # bytes of a file that is hashed at once
_SAMPLED = 4 << 10  # bytes below which nothing is compressed
_WORTH = 4 << 20  # bytes of a folder whose hashes are kept on disk
_DEEPEST = 256  # folders

Stamps = tuple[int, int, int, int]
Hashes = dict[str, tuple[Stamps, str]]  # by path below a folder


class Packer:
    """Makes blobs for one server. `memory` is a private folder for hashes."""

    def __init__(self, blobs: Blobs, memory: str) -> None:
        self._blobs = blobs
        self._memory = memory
        self._large: dict[str, Spot] = {}  # by our own hash
        self._parcels: dict[tuple[str, str], Parcel] = {}

    def content(self, content: bytes, *, executable: bool = False) -> Blob:
        """Return the blob that `content` is."""
        source = Source(content)
        return Blob(self._spot(self._blobs.hash(content), len(content), source), source, executable)

    def message(self, message: Any) -> Blob:
        """Return the blob that a message is."""
        return self.content(message.SerializeToString(deterministic=True))

    def input(self, staged: Staged) -> Blob:
        """Return the blob of an input file; raise InputChanged when it is not what is said."""
        source, hash_ = Source(path=staged.place), staged.content.digest.hash
        known = self._large.get(hash_)
        if known is None:
            try:
                ours, theirs = both(source.pieces(0))
            except InputError as error:
                raise InputChanged(staged.path) from error
            if ours.hash != hash_:
                raise InputChanged(staged.path)
            name = bytes.fromhex(ours.hash) if self._blobs.function else theirs
            known = self._large[hash_] = self._spot(name, ours.size, source)
        return Blob(known, source, staged.content.kind == "x")

    def tree(self, place: str, hash_: str, *, names: Iterable[str] = ()) -> Parcel:
        """Return the folder at `place`, whose content `hash_` stands for, ready to be sent.

        With `names`, only these paths below it.
        """
        parcel = self._parcels.get((place, hash_))
        if parcel is None:
            known = self._recalled(place)
            found: Hashes = {}
            folder = Folder()
            if names:
                for name in names:
                    blob = self._file(f"{place}/{name}", name, known=known, found=found)
                    folder.put(name, blob)
            else:
                folder = self._scan(place, "", known=known, found=found)
            parcel = self._parcels[place, hash_] = packed(folder, self.message)
            if found != known and sum(stamps[0] for stamps, _ in found.values()) > _WORTH:
                self._remember(place, found)
        return parcel

    def single(self, place: str) -> Blob:
        """Return the blob of the file at `place`, which may be another one tomorrow."""
        known = self._recalled(place)
        found: Hashes = {}
        blob = self._file(place, "", known=known, found=found)
        if found != known and blob.spot.size > _WORTH:
            self._remember(place, found)
        return blob

    def scanned(self, place: str) -> Folder:
        """Return what lies in the folder at `place` now."""
        return self._scan(place, "", known={}, found={})

    def packed(self, folder: Folder) -> Parcel:
        """Return `folder` ready to be sent."""
        return packed(folder, self.message)

    def _spot(self, hash_: bytes, size: int, source: Source) -> Spot:
        offers = self._blobs.offers
        worth = (offers.zstd or offers.zstd_batch) and size >= _SAMPLED
        return Spot(hash_, size, dense=not worth or source.is_dense(size))

    def _scan(self, place: str, path: str, *, known: Hashes, found: Hashes) -> Folder:
        if path.count("/") > _DEEPEST:
            raise InputError(f"`{path[:200]}…` lies in more than {_DEEPEST} folders")
        folder = Folder()
        with os.scandir(place) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}" if path else entry.name
                if entry.is_symlink():
                    folder.links[entry.name] = os.readlink(entry.path)
                elif entry.is_dir():
                    inner = self._scan(entry.path, below, known=known, found=found)
                    folder.folders[entry.name] = inner
                elif entry.is_file():
                    folder.files[entry.name] = self._file(
                        entry.path, below, known=known, found=found
                    )
        return folder

    def _file(self, place: str, path: str, *, known: Hashes, found: Hashes) -> Blob:
        try:
            status = os.stat(place)
            stamps = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            before = known.get(path)
            if before is not None and before[0] == stamps:
                hash_ = bytes.fromhex(before[1])
            else:
                hash_ = self._hash(place, status.st_size)
        except OSError as error:
            raise HostError(f"cannot read `{place}`: {error.strerror}") from error
        found[path] = (stamps, hash_.hex())
        source = Source(path=place)
        executable = bool(status.st_mode & stat.S_IXUSR)
        return Blob(self._spot(hash_, status.st_size, source), source, executable)

    def _hash(self, place: str, size: int) -> bytes:
        if size > _SMALL and self._blobs.function:
            return bytes.fromhex(hashed(place).hash)
        with open(place, "rb") as file:
            if size > _SMALL:
                return hashlib.file_digest(file, "sha256").digest()
            return self._blobs.hash(file.read())

    # on disk

    def _note(self, place: str) -> str:
        name = blake3(f"{self._blobs.function}\0{place}".encode("utf-8", "surrogateescape"))
        return f"{self._memory}/hashes-{name.hexdigest()[:32]}"

    def _recalled(self, place: str) -> Hashes:
        try:
            with open(self._note(place), encoding="utf-8", errors="surrogateescape") as file:
                said = json.load(file)
            return {path: ((*stamps,), hash_) for path, (stamps, hash_) in said.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # absent or damaged
            return {}

    def _remember(self, place: str, found: Hashes) -> None:
        note = self._note(place)
        fresh = f"{note}.{os.getpid()}"
        with suppress(OSError):
            os.makedirs(self._memory, 0o700, exist_ok=True)
            with open(fresh, "w", encoding="utf-8", errors="surrogateescape") as file:
                json.dump(found, file)
            os.replace(fresh, note)
