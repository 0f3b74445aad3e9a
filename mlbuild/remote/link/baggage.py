"""Baggage: our own program as it is sent to a machine that lacks it, named by its digest."""

import io
import os
import platform
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec

from blake3 import blake3

COMPILED = ("blake3", "zstandard")  # packages with machine code, which fit one kind of Python only
_LEFT_OUT = frozenset({"__pycache__", "_rules", "templates", "cli", "ui"})
_ENDS = (".py", ".json", ".so")
_UNUSED = "_cffi."  # how PyPy reaches zstandard: as large as all the rest
_MOMENT = (1980, 1, 1, 0, 0, 0)


def own_kind() -> str:
    """Return what kind of Python runs us: packages with machine code fit no other."""
    short = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.implementation.name}-{short}-{platform.machine()}"


@cache
def digest() -> str:
    """Return the digest of what is sent: other content, other name."""
    found = blake3()
    for name, path in _files():
        with open(path, "rb") as file:
            found.update(f"{name}\0".encode() + blake3(file.read()).digest())
    return found.hexdigest()[:32]


def packed(kind: str) -> tuple[bytes, list[str]]:
    """Return a zip for that kind of Python, and what pip is to install beside it."""
    own = kind == own_kind()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in _files():
            if own or name.startswith("mlbuild/"):
                entry = zipfile.ZipInfo(name, _MOMENT)
                with open(path, "rb") as file:
                    archive.writestr(entry, file.read(), zipfile.ZIP_DEFLATED, compresslevel=1)
    return buffer.getvalue(), [] if own else [f"{one}=={version(one)}" for one in COMPILED]


def _files() -> Iterator[tuple[str, str]]:
    """Yield the name in the archive and the path of each file, sorted."""
    for package in ("mlbuild", *COMPILED):
        spec = find_spec(package)
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
