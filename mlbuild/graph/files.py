"""Files: what a graph is read from. The folder of a workspace, unless somebody gives another."""

import os
import stat
from collections.abc import Iterable
from typing import Literal, Protocol

from mlbuild.errors import InputError, Span

Kind = Literal["file", "tree"]
MAX_FILE = 4 << 20  # bytes of one BUILD.ml or .bzl


class Files(Protocol):
    """Files by path relative to the workspace; "" is the workspace itself. Links are followed."""

    def read(self, path: str, *, span: Span | None = None) -> bytes:
        """Return the bytes of a BUILD.ml or .bzl file; raise InputError for no regular file."""
        ...

    def exists(self, path: str) -> bool:
        """Say whether there is anything at `path`, be it a link to nothing."""
        ...

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder at `path`, or a link to one."""
        ...

    def entries(self, folder: str) -> Iterable[tuple[str, bool]]:
        """Return what is in a folder, and whether it is a folder itself; nothing for no folder."""
        ...

    def elsewhere(self, path: str) -> Kind | None:
        """Return what a source is that is not here but somewhere else; None where it is nowhere."""
        ...


class Disk:
    """The files below an absolute folder."""

    def __init__(self, root: str) -> None:
        self._root = root

    def read(self, path: str, *, span: Span | None = None) -> bytes:
        """Return the bytes of a BUILD.ml or .bzl file; raise InputError for no regular file."""
        return read_source(os.path.join(self._root, path), shown=path, span=span)

    def exists(self, path: str) -> bool:
        """Say whether there is anything at `path`, be it a link to nothing."""
        return os.path.lexists(os.path.join(self._root, path))

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder at `path`, or a link to one."""
        return os.path.isdir(os.path.join(self._root, path))

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """Return what is in a folder, and whether it is a folder itself; nothing for no folder."""
        try:
            with os.scandir(os.path.join(self._root, folder)) as found:
                return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def elsewhere(self, path: str) -> Kind | None:  # noqa: ARG002 - the disk has everything
        """Return what a source is that is not here but somewhere else; None where it is nowhere."""
        return None


def names_in(files: Files, folder: str) -> list[str]:
    """Return the names in a folder, none when there is no such folder."""
    return [name for name, _ in files.entries(folder)]


def read_source(path: str, *, shown: str, span: Span | None = None) -> bytes:
    """Return the bytes of a BUILD.ml or .bzl file; raise InputError for what is no regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"cannot read `{shown}`: {error.strerror}", span=span) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"`{shown}` is not a regular file", span=span)
        check_size(status.st_size, shown=shown, span=span)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def check_size(size: int, *, shown: str, span: Span | None = None) -> None:
    """Raise InputError for a BUILD.ml or .bzl file that is too large to be meant."""
    if size > MAX_FILE:
        raise InputError(
            f"`{shown}` has {size} bytes; at most {MAX_FILE} are read",
            span=span,
            hints=("split it into packages, or generate the targets with a function",),
        )
