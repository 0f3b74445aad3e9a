"""Compare: two outputs of one action, file by file, as deep as their formats are known."""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap

from mlbuild.verify import arrays, containers
from mlbuild.verify.difference import MOST, Content, Difference, within
from mlbuild.verify.texts import json_differences, text_difference

_CHUNK = 1 << 20
_LONGEST_TEXT = 64 << 20  # bytes; what is longer is compared as bytes
_DEEPEST = 4  # archives in archives
_NOTHING: Mapping[str, float] = {}


def differences(
    kept: str, fresh: str, *, path: str, tolerance: Mapping[str, float] = _NOTHING
) -> list[Difference]:
    """Return where the files or folders at two absolute paths differ; the first 20 places.

    `path` names them in what is returned. Numbers in JSON may differ by `tolerance`, by name.
    """
    found: list[Difference] = []
    for name, one, two in _files(kept, fresh, path):
        if one is None or two is None:
            kind, what = ("extra", "it is new") if one is None else ("missing", "it is gone")
            found.append(Difference(name, kind, "", what))
        else:
            found += _file_differences(name, one, two, tolerance)
        if len(found) >= MOST:
            break
    return found[:MOST]


def _files(kept: str, fresh: str, path: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the files below two places that belong together."""
    if not (os.path.isdir(kept) and os.path.isdir(fresh)):
        yield path, kept, fresh
        return
    ours, theirs = set(_below(kept)), set(_below(fresh))
    for name in sorted(ours | theirs):
        one = f"{kept}/{name}" if name in ours else None
        two = f"{fresh}/{name}" if name in theirs else None
        yield f"{path}/{name}", one, two


def _below(folder: str) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(f"{where}/{name}")]
        empty = not names and not folders and where != folder
        for name in (*names, *links):
            yield os.path.relpath(f"{where}/{name}", folder)
        if empty:
            yield os.path.relpath(where, folder)


def _file_differences(
    path: str, kept: str, fresh: str, tolerance: Mapping[str, float]
) -> list[Difference]:
    """Compare two files, links or empty folders."""
    one, two = os.lstat(kept), os.lstat(fresh)
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(two.st_mode):
        return [Difference(path, "kind", "", "it is a file in one, a folder or link in the other")]
    if stat.S_ISLNK(one.st_mode):
        was, now = os.readlink(kept), os.readlink(fresh)
        what = f"it led to `{was}` and leads to `{now}`"
        return [Difference(path, "name", "", what)] if was != now else []
    if stat.S_ISDIR(one.st_mode):
        return []
    found: list[Difference] = []
    if (one.st_mode ^ two.st_mode) & 0o100:
        found.append(Difference(path, "mode", "", "only one of the two is executable"))
    with _Opened(kept) as ours, _Opened(fresh) as theirs:
        if not _equal(ours, theirs):
            found += _content(path, "", ours, theirs, tolerance, depth=0)
    return found


class _Opened:
    """The content of a file; large ones are not read but mapped."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        self._map: mmap | None = None

    def __enter__(self) -> Content:
        if os.fstat(self._file.fileno()).st_size == 0:
            return b""
        self._map = mmap(self._file.fileno(), 0, access=ACCESS_READ)
        return self._map

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            self._map.close()
        self._file.close()


def _equal(one: Content, two: Content) -> bool:
    return len(one) == len(two) and all(
        one[at : at + _CHUNK] == two[at : at + _CHUNK] for at in range(0, len(one), _CHUNK)
    )


def _content(
    path: str,
    where: str,
    kept: Content,
    fresh: Content,
    tolerance: Mapping[str, float],
    *,
    depth: int,
) -> list[Difference]:
    """Compare two contents that are not equal, by their format where both have it."""

    def inner(path: str, where: str, kept: Content, fresh: Content) -> list[Difference]:
        return _content(path, where, kept, fresh, tolerance, depth=depth + 1)

    try:
        found = _by_format(path, where, kept, fresh, inner, depth=depth)
        if found is not None:
            return found or [Difference(path, "bytes", where, "it holds the same in other bytes")]
    except containers.UNREADABLE:
        pass  # damaged, or not what it looks like: bytes, then
    if max(len(kept), len(fresh)) <= _LONGEST_TEXT:
        try:
            return _as_text(path, where, kept[:].decode(), fresh[:].decode(), tolerance)
        except UnicodeDecodeError:
            pass
    return [_as_bytes(path, where, kept, fresh)]


def _by_format(
    path: str,
    where: str,
    kept: Content,
    fresh: Content,
    inner: containers.Inner,
    *,
    depth: int,
) -> list[Difference] | None:
    """Compare two contents of a format that is known; return None when it is not."""

    def both(*starts: bytes) -> bool:
        return all(content[: len(starts[0])] in starts for content in (kept, fresh))

    if both(arrays.NPY):
        return arrays.npy_differences(path, where, kept, fresh)
    if path.endswith(".safetensors") and not where:
        return arrays.tensor_differences(path, where, kept, fresh)
    if both(containers.PICKLE):
        return containers.pickle_differences(path, where, kept, fresh) or None
    if depth >= _DEEPEST:
        return None
    if both(*containers.ZIP):
        return containers.zip_differences(path, where, kept, fresh, inner=inner)
    if both(containers.GZIP):
        return containers.gzip_differences(path, where, kept, fresh, inner=inner)
    if containers.is_tar(kept) and containers.is_tar(fresh):
        return containers.tar_differences(path, where, kept, fresh, inner=inner)
    return None


def _as_text(
    path: str, where: str, kept: str, fresh: str, tolerance: Mapping[str, float]
) -> list[Difference]:
    if "\0" in kept or "\0" in fresh:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "a text has no NUL")
    if path.endswith(".json"):
        try:
            one, two = json.loads(kept), json.loads(fresh)
        except (ValueError, RecursionError):
            return [text_difference(path, where, kept, fresh)]
        return json_differences(path, where, one, two, tolerance=tolerance)
    return [text_difference(path, where, kept, fresh)]


def _as_bytes(path: str, where: str, kept: Content, fresh: Content) -> Difference:
    count, first = abs(len(kept) - len(fresh)), -1
    for at in range(0, min(len(kept), len(fresh)), _CHUNK):
        one, two = kept[at : at + _CHUNK], fresh[at : at + _CHUNK]
        if one != two:
            if first < 0:
                first = next(
                    (at + n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), -1
                )
            count += sum(map(int.__ne__, one, two))
    sizes = f"{len(kept):,} bytes" if len(kept) == len(fresh) else ""
    sizes = sizes or f"{len(kept):,} and {len(fresh):,} bytes"
    place = within(where, f"byte {first if first >= 0 else min(len(kept), len(fresh))}")
    return Difference(path, "bytes", place, f"{count:,} bytes differ, of {sizes}")
