"""Containers: zip, gzip, tar and pickle files, compared part by part."""

import gzip
import io
import pickletools
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from mlbuild.verify.difference import Content, Difference, within

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
GZIP = b"\x1f\x8b"
PICKLE = b"\x80"
_TAR_AT, TAR = 257, b"ustar"
_LARGEST = 4 << 30  # bytes of a part that is unpacked to be looked at
_EPOCH = 315532800
_NAMED, _EXTRA = 8, 4  # flags of gzip
_GZIP_HEAD = 10

# Compares the contents of two parts of a file.
Inner = Callable[[str, str, Content, Content], list[Difference]]
UNREADABLE = (
    *(ValueError, EOFError, OSError, KeyError, IndexError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, RecursionError),
)


def is_tar(content: Content) -> bool:
    """Say whether some bytes are a tar archive."""
    return content[_TAR_AT : _TAR_AT + len(TAR)] == TAR


def zip_differences(
    path: str, where: str, kept: Content, fresh: Content, *, inner: Inner
) -> list[Difference]:
    """Compare two zip archives, such as .npz files and what torch.save writes."""
    with zipfile.ZipFile(_file(kept)) as one, zipfile.ZipFile(_file(fresh)) as two:
        return list(_zip(path, where, one, two, inner))


def _zip(
    path: str, where: str, one: zipfile.ZipFile, two: zipfile.ZipFile, inner: Inner
) -> Iterator[Difference]:
    ours, theirs = one.infolist(), two.infolist()
    top, other_top = _top(ours), _top(theirs)
    if top != other_top:
        what = f"the folder in it was `{top}` and is `{other_top}`"
        yield Difference(path, "name", where, what)
    mine = {_below(entry.filename, top): entry for entry in ours}
    other = {_below(entry.filename, other_top): entry for entry in theirs}
    yield from _listing(path, where, list(mine), list(other))
    for name, entry in mine.items():
        twin = other.get(name)
        if twin is None:
            continue
        place = within(where, _member(name))
        if entry.CRC != twin.CRC or entry.file_size != twin.file_size:
            if max(entry.file_size, twin.file_size) > _LARGEST:
                yield Difference(path, "bytes", place, "its content differs")
            else:
                yield from inner(path, place, one.read(entry), two.read(twin))
        if entry.date_time != twin.date_time:
            what = f"it was made at {_date(entry)} and {_date(twin)}"
            yield Difference(path, "time stamp", place, what)
        if entry.external_attr != twin.external_attr:
            what = f"its attributes were {entry.external_attr:#x} and are {twin.external_attr:#x}"
            yield Difference(path, "mode", place, what)


def _member(name: str) -> str:
    return f"array `{name.removesuffix('.npy')}`" if name.endswith(".npy") else f"member `{name}`"


def _top(entries: list[zipfile.ZipInfo]) -> str:
    """Return the one folder that all members are in, "" for none."""
    tops = {entry.filename.partition("/")[0] for entry in entries if "/" in entry.filename}
    whole = len(tops) == 1 and all("/" in entry.filename for entry in entries)
    return tops.pop() if whole else ""


def _below(name: str, top: str) -> str:
    return name.removeprefix(f"{top}/") if top else name


def _date(entry: zipfile.ZipInfo) -> str:
    year, month, day, hour, minute, second = entry.date_time
    return f"{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


def gzip_differences(
    path: str, where: str, kept: Content, fresh: Content, *, inner: Inner
) -> list[Difference]:
    """Compare two gzip files: what stands in their heads, and what they hold."""
    found: list[Difference] = []
    (when, name), (other_when, other_name) = _gzip_head(kept), _gzip_head(fresh)
    if when != other_when:
        what = f"it was made at {_moment(when)} and {_moment(other_when)} (bytes 4 to 7)"
        found.append(Difference(path, "time stamp", within(where, "its head"), what))
    if name != other_name:
        what = f"it names `{name}` and `{other_name}`"
        found.append(Difference(path, "name", within(where, "its head"), what))
    one, two = _unzipped(kept), _unzipped(fresh)
    if one != two:
        found += inner(path, within(where, "unpacked"), one, two)
    elif not found:
        found.append(Difference(path, "bytes", where, "the same content, packed in another way"))
    return found


def _gzip_head(content: Content) -> tuple[int, str]:
    """Return the time stamp and the file name in the head of a gzip file."""
    flags, (when,) = content[3], struct.unpack("<I", content[4:8])
    if not flags & _NAMED or flags & _EXTRA:
        return when, ""
    return when, content[_GZIP_HEAD : _GZIP_HEAD + 1024].partition(b"\0")[0].decode("latin-1")


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _unzipped(content: Content) -> bytes:
    with gzip.GzipFile(fileobj=_file(content), mode="rb") as file:
        found = file.read(_LARGEST + 1)
    if len(found) > _LARGEST:
        raise ValueError("too large to be unpacked")
    return found


def tar_differences(
    path: str, where: str, kept: Content, fresh: Content, *, inner: Inner
) -> list[Difference]:
    """Compare two tar archives."""
    with tarfile.open(fileobj=_file(kept)) as one, tarfile.open(fileobj=_file(fresh)) as two:
        return list(_tar(path, where, one, two, inner))


def _tar(
    path: str, where: str, one: tarfile.TarFile, two: tarfile.TarFile, inner: Inner
) -> Iterator[Difference]:
    mine = {entry.name: entry for entry in one.getmembers()}
    other = {entry.name: entry for entry in two.getmembers()}
    yield from _listing(path, where, list(mine), list(other))
    for name, entry in mine.items():
        twin = other.get(name)
        if twin is None:
            continue
        place = within(where, f"member `{name}`")
        if entry.mtime != twin.mtime:
            what = f"it was changed at {_moment(int(entry.mtime))} and {_moment(int(twin.mtime))}"
            yield Difference(path, "time stamp", place, what)
        for field in ("mode", "uid", "gid", "uname", "gname", "linkname"):
            was, now = getattr(entry, field), getattr(twin, field)
            if was != now:
                yield Difference(path, "mode", place, f"its {field} was {was!r} and is {now!r}")
        if entry.isfile() and twin.isfile():
            ours, theirs = one.extractfile(entry), two.extractfile(twin)
            pair = (ours.read() if ours else b"", theirs.read() if theirs else b"")
            if pair[0] != pair[1]:
                yield from inner(path, place, *pair)


def _listing(path: str, where: str, ours: list[str], theirs: list[str]) -> Iterator[Difference]:
    """Yield how the names of the members differ, and their order where the names are the same."""
    for name in sorted(set(ours) ^ set(theirs)):
        kind, what = ("missing", "it is gone") if name in ours else ("extra", "it is new")
        yield Difference(path, kind, within(where, _member(name)), what)
    if ours != theirs and set(ours) == set(theirs):
        yield Difference(path, "order", where, "its members stand in another order")


def pickle_differences(path: str, where: str, kept: Content, fresh: Content) -> list[Difference]:
    """Compare two pickles operation by operation; nothing in them is run."""
    for number, (one, two) in enumerate(
        zip(pickletools.genops(kept[:]), pickletools.genops(fresh[:]), strict=False)
    ):
        (code, value, at), (other_code, other_value, _) = one, two
        if code.name != other_code.name:
            what = f"operation {number} was {code.name} and is {other_code.name}"
            return [Difference(path, "bytes", within(where, f"byte {at}"), what)]
        if value == other_value or "FRAME" in code.name:
            continue
        place = within(where, f"byte {at}")
        if isinstance(value, bytes) and isinstance(other_value, bytes):
            differing = sum(map(int.__ne__, value, other_value))
            what = f"{differing:,} of {len(value):,} bytes differ in what it holds at"
            what += f" operation {code.name}, perhaps the numbers of an array"
            return [Difference(path, "bytes", place, what)]
        kind = "number" if isinstance(value, (int, float)) else "text"
        what = f"{_brief(value)} and {_brief(other_value)} ({code.name})"
        return [Difference(path, kind, place, f"it held {what}")]
    return []


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - a line


def _file(content: Content) -> io.BufferedReader:
    """Return something that reads like a file."""
    return io.BufferedReader(_Bytes(content))


class _Bytes(io.RawIOBase):
    """A content as a file, of which no copy is made."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._content[self._at : self._at + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
