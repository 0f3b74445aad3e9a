"""Unpacks an archive into a folder: .tar (also .gz, .bz2, .xz), .zip, or one compressed file.

usage: unpack.py ARCHIVE OUT [--strip N]

The bytes tell what it is, not its name. Of each entry only path, content, executable bit and the
target of a link count: owners, times and other modes are dropped. What an honest archive never
holds is refused: paths and links that leave OUT, devices, two entries of one name, and more bytes
than disks are made for.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

CHUNK = 1 << 20
FREE = 256 << 20  # bytes that anything may unpack to; above, the ratio counts
RATIO = 250  # bytes unpacked for each byte of the archive
MAX_ENTRIES = 10_000_000

ENCRYPTED = 0x1
SYMLINK_TARGET = 4096  # bytes; longer ones no system follows
LARGEST_READ = 64 << 20  # bytes; only a forged header makes tarfile ask for more at once

Opener = Callable[[str], io.BufferedIOBase]
COMPRESSIONS: dict[bytes, tuple[Opener, str]] = {
    b"\x1f\x8b": (gzip.GzipFile, ".gz"),
    b"BZh": (bz2.BZ2File, ".bz2"),
    b"\xfd7zXZ\0": (lzma.LZMAFile, ".xz"),
}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile,
    NotImplementedError,
)  # fmt: skip


class UnpackError(Exception):
    """An archive that is broken, or that no honest tool made."""


class Readable(Protocol):
    """What has bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive: a folder, a link (`target`), a copy (`twin`) or a file."""

    path: str
    is_folder: bool = False
    executable: bool = False
    target: str = ""
    twin: str = ""  # the path of the entry whose content it shares
    content: Readable | None = None


def main() -> None:
    """Unpack, or say in one sentence why not."""
    words = sys.argv[1:]
    strip = "0"
    if "--strip" in words:
        at = words.index("--strip")
        strip = "".join(words[at + 1 : at + 2])
        del words[at : at + 2]
    if len(words) != 2 or not strip.isdecimal():  # noqa: PLR2004 - ARCHIVE and OUT
        sys.exit("usage: unpack.py ARCHIVE OUT [--strip N]")
    archive, out = words
    try:
        unpack(archive, out, strip=int(strip))
    except UnpackError as error:
        sys.exit(f"`{os.path.basename(archive)}` cannot be unpacked: {error}")
    except BROKEN as error:
        sys.exit(f"`{os.path.basename(archive)}` is broken: {error}")
    except OSError as error:
        sys.exit(f"`{os.path.basename(archive)}` cannot be unpacked: {error.strerror}")


def unpack(archive: str, out: str, *, strip: int) -> None:
    """Unpack `archive` into `out`, without the first `strip` folders of each path."""
    os.makedirs(out, exist_ok=True)
    writer = Writer(out, limit=max(FREE, RATIO * os.path.getsize(archive)))
    for member in members(archive):
        path = stripped(safe_path(member.path), strip)
        if path:
            twin = stripped(safe_path(member.twin), strip) if member.twin else ""
            writer.add(member, path, twin)
    writer.finish()


def members(archive: str) -> Iterator[Member]:
    """Yield the entries in the order of the archive."""
    with open(archive, "rb") as file:
        start = file.read(8)
    if start.startswith(ZIP):
        yield from zip_members(archive)
        return
    opener, ending = next(
        (known for magic, known in COMPRESSIONS.items() if start.startswith(magic)),
        (plain_open, ""),
    )
    with opener(archive) as content:
        if is_tar(content.read(512)):
            content.seek(0)
            yield from tar_members(content)
        elif ending:
            content.seek(0)
            yield Member(os.path.basename(archive).removesuffix(ending), content=content)
        else:
            raise UnpackError("it is no archive of a known kind (tar, zip, gzip, bzip2, xz)")


def plain_open(path: str) -> io.BufferedIOBase:
    """Open a file that is not compressed."""
    return open(path, "rb")


def is_tar(block: bytes) -> bool:
    """Say whether the first block is the header of a tar: its sum must be right."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def tar_members(content: io.BufferedIOBase) -> Iterator[Member]:
    """Yield the entries of a tar."""
    with tarfile.open(fileobj=Bounded(content), mode="r:") as tar:
        for entry in tar:
            if entry.isdir():
                yield Member(entry.name, is_folder=True)
            elif entry.issym():
                yield Member(entry.name, target=entry.linkname)
            elif entry.islnk():
                yield Member(entry.name, twin=entry.linkname)
            elif entry.isreg():
                executable = bool(entry.mode & stat.S_IXUSR)
                yield Member(entry.name, executable=executable, content=tar.extractfile(entry))
            else:
                raise UnpackError(f"`{entry.name}` is a device or a pipe")


class Bounded(io.BufferedIOBase):
    """A stream of which no header can bring too much into memory."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self.stream = stream

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes."""
        if size is None or not 0 <= size <= LARGEST_READ:
            raise UnpackError("one of its headers is absurdly large")
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place; return it."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self.stream.tell()


def zip_members(archive: str) -> Iterator[Member]:
    """Yield the entries of a zip."""
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            mode = entry.external_attr >> 16
            if entry.flag_bits & ENCRYPTED:
                raise UnpackError(f"`{entry.filename}` is encrypted")
            if "\\" in entry.filename:
                raise UnpackError(f"`{entry.filename}` has a backslash in its name")
            if entry.is_dir():
                yield Member(entry.filename, is_folder=True)
                continue
            with packed.open(entry) as content:
                if stat.S_ISLNK(mode):
                    target = os.fsdecode(content.read(SYMLINK_TARGET))
                    yield Member(entry.filename, target=target)
                elif mode and stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
                    raise UnpackError(f"`{entry.filename}` is a device or a pipe")
                else:
                    executable = bool(mode & stat.S_IXUSR)
                    yield Member(entry.filename, executable=executable, content=content)


def safe_path(path: str) -> tuple[str, ...]:
    """Return the parts of a path in the archive; refuse one that could leave its folder."""
    if path.startswith("/") or "\0" in path:
        raise UnpackError(f"`{path}` is no relative path")
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if ".." in parts:
        raise UnpackError(f"`{path}` leaves the folder it is unpacked to")
    return parts


def stripped(parts: tuple[str, ...], strip: int) -> str:
    """Return the path without its first folders; nothing when it has no more than those."""
    return "/".join(parts[strip:])


class Writer:
    """Writes entries below a folder. Links come last, so that nothing is written through one."""

    def __init__(self, out: str, *, limit: int) -> None:
        self.out = out
        self.limit = limit  # bytes
        self.written = 0
        self.entries = 0
        self.files: set[str] = set()  # and links: what may stand once
        self.links: dict[str, str] = {}

    def add(self, member: Member, path: str, twin: str) -> None:
        """Write one entry to `path`."""
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise UnpackError(f"it has more than {MAX_ENTRIES} entries")
        if member.is_folder:
            self.make_folder(path)
            return
        if path in self.files:
            raise UnpackError(f"it holds `{path}` twice")
        self.files.add(path)
        self.make_folder(os.path.dirname(path))
        if os.path.isdir(self.place(path)):
            raise UnpackError(f"`{path}` is both a file and a folder")
        if member.target:
            self.links[path] = member.target
        elif twin:
            self.copy(twin, path)
        elif member.content is not None:
            self.write(path, member.content, executable=member.executable)
        else:
            raise UnpackError(f"`{path}` is a link to nothing")

    def make_folder(self, path: str) -> None:
        """Create a folder and those above it."""
        above = ""
        for part in path.split("/"):
            above = f"{above}/{part}" if above else part
            if above in self.files:
                raise UnpackError(f"`{above}` is both a file and a folder")
        os.makedirs(self.place(path), exist_ok=True)

    def copy(self, twin: str, path: str) -> None:
        """Write a hard link: the content of an earlier file once more."""
        if twin not in self.files or twin in self.links:
            raise UnpackError(f"`{path}` is a link to `{twin}`, which is no earlier file")
        executable = os.access(self.place(twin), os.X_OK)
        with open(self.place(twin), "rb") as content:
            self.write(path, content, executable=executable)

    def write(self, path: str, content: Readable, *, executable: bool) -> None:
        """Write a file, within the limit."""
        mode = 0o755 if executable else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(self.place(path), flags, mode), "wb") as file:
            while chunk := content.read(CHUNK):
                self.written += len(chunk)
                if self.written > self.limit:
                    raise UnpackError(
                        f"it unpacks to more than {self.limit >> 20} MiB, {RATIO} times its size"
                    )
                file.write(chunk)

    def finish(self) -> None:
        """Create the links and make sure that each stays inside."""
        for path, target in sorted(self.links.items()):
            os.symlink(target, self.place(path))
        root = os.path.realpath(self.out)
        for path, target in sorted(self.links.items()):
            real = os.path.realpath(self.place(path))
            if os.path.isabs(target) or not (real == root or real.startswith(root + "/")):
                os.remove(self.place(path))
                raise UnpackError(f"the link `{path}` leaves the folder: it leads to `{target}`")
        if not os.listdir(self.out):
            raise UnpackError("nothing is in it, or nothing is left after --strip")

    def place(self, path: str) -> str:
        """Return where `path` lies."""
        return os.path.join(self.out, path)


if __name__ == "__main__":
    main()
