"""Baggage: our own program as it is sent to a machine that lacks it, named by its digest."""

import io
import os
import platform
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec

from blake3 import blake3

from mlbuild.store import files

COMPILED = ("blake3", "zstandard")  # packages with machine code, which fit one kind of Python only
# The client of Docker and what it imports: Python alone, so they serve any kind.
PLAIN = ("certifi", "charset_normalizer", "docker", "idna", "requests", "urllib3")
_LEFT_OUT = frozenset({"__pycache__", "_rules", "templates", "cli", "ui"})
_ENDS = (".py", ".json", ".so")
_UNUSED = "_cffi."  # how PyPy reaches zstandard: as large as all the rest
_MOMENT = (1980, 1, 1, 0, 0, 0)


def own_kind() -> str:
    """Return what kind of Python runs us: packages with machine code fit no other."""
    short = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.implementation.name}-{short}-{platform.machine()}"


@cache
def digest(memo: str = "") -> str:
    """Return the digest of what is sent: other content, other name.

    The file `memo` remembers it, by the stamps of all files: to look at those takes an eighth of
    the time. "" is for none.
    """
    if not memo:
        return _digest()
    stamps = _stamps()
    known = (files.read_file(memo) or b"").decode("ascii", "replace").split()
    if known[:1] == [stamps] and len(known) == 2:  # noqa: PLR2004 - stamps, digest
        return known[1]
    found = _digest()
    fresh = f"{memo}.{os.urandom(4).hex()}"
    with suppress(OSError):  # it is remembered or it is not
        os.makedirs(os.path.dirname(memo), 0o700, exist_ok=True)
        files.write_new(fresh, f"{stamps} {found}\n".encode(), mode=0o600)
        os.replace(fresh, memo)
    return found


def _digest() -> str:
    found = blake3()
    for name, path in _files():
        with open(path, "rb") as file:
            found.update(f"{name}\0".encode() + blake3(file.read()).digest())
    return found.hexdigest()[:32]


def _stamps() -> str:
    """Return what changes with every change of a file."""
    found = blake3()
    for name, path in _files():
        at = os.stat(path)
        found.update(f"{name}\0{at.st_size} {at.st_mtime_ns} {at.st_ctime_ns} {at.st_ino}".encode())
    return found.hexdigest()[:32]


def packed(kind: str) -> tuple[bytes, list[str]]:
    """Return a zip for that kind of Python, and what pip is to install beside it."""
    own = kind == own_kind()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in _files():
            if own or not (name.endswith(".so") or name.startswith(COMPILED)):
                entry = zipfile.ZipInfo(name, _MOMENT)
                with open(path, "rb") as file:
                    archive.writestr(entry, file.read(), zipfile.ZIP_DEFLATED, compresslevel=1)
    return buffer.getvalue(), [] if own else [f"{one}=={version(one)}" for one in COMPILED]


def _files() -> Iterator[tuple[str, str]]:
    """Yield the name in the archive and the path of each file, sorted."""
    for package in ("mlbuild", *COMPILED, *PLAIN):
        spec = find_spec(package)
        if spec is None and package in PLAIN:  # another release of Docker's client needs others
            continue
        assert spec is not None, "we are running it"
        assert spec.submodule_search_locations is not None, "it is a package"
        yield from _below(spec.submodule_search_locations[0], package)


def _below(folder: str, name: str) -> Iterator[tuple[str, str]]:
    for one in sorted(os.listdir(folder)):
        path = f"{folder}/{one}"
        if os.path.isdir(path):
            if one not in _LEFT_OUT:
                yield from _below(path, f"{name}/{one}")
        elif one.endswith(_ENDS) and not one.startswith(_UNUSED):
            yield f"{name}/{one}", path
