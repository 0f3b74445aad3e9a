"""Folder: folders as the Remote Execution API has them: messages that name what lies in them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlbuild.errors import InputError
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.reapi_records import Spot
from mlbuild.shared.reapi_source import Source


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that a server must have, and where they are here."""

    spot: Spot
    source: Source
    executable: bool = False  # as a file


@dataclass(frozen=True, slots=True)
class Parcel:
    """A folder with all that is below it, ready to be sent."""

    top: Blob  # its own message
    below: tuple[Blob, ...]  # all other messages, and all files

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Everything, what names others last."""
        return (*self.below, self.top)


@dataclass(slots=True)
class Folder:
    """A folder in the making."""

    files: dict[str, Blob] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: "dict[str, Folder | Parcel]" = field(default_factory=dict)

    def at(self, path: str) -> "Folder":
        """Return the folder at the relative `path` below, made where it is not there yet."""
        here = self
        for name in filter(None, path.split("/")):
            below = here.folders.setdefault(name, Folder())
            if isinstance(below, Parcel):
                raise InputError(f"`{path}` lies in a folder that is an input as a whole")
            here = below
        return here

    def put(self, path: str, item: "Blob | Folder | Parcel") -> None:
        """Add a file or a folder at the relative `path` below."""
        above, _, name = path.rpartition("/")
        folder = self.at(above)
        if isinstance(item, Blob):
            folder.files[name] = item
        else:
            folder.folders[name] = item


def packed(folder: Folder, message: Callable[[Any], Blob]) -> Parcel:
    """Return `folder` ready to be sent; `message` makes a blob of a message."""
    found = wire.Directory()
    below: list[Blob] = []
    for name in sorted(folder.files):
        blob = folder.files[name]
        found.files.add(name=_plain(name), digest=blob.spot.digest(), is_executable=blob.executable)
        below.append(blob)
    for name in sorted(folder.folders):
        item = folder.folders[name]
        parcel = item if isinstance(item, Parcel) else packed(item, message)
        found.directories.add(name=_plain(name), digest=parcel.top.spot.digest())
        below += parcel.blobs
    for name in sorted(folder.links):
        found.symlinks.add(name=_plain(name), target=_plain(folder.links[name]))
    return Parcel(message(found), tuple(below))


def _plain(name: str) -> str:
    """Return a name, which must be text: the API has no other names."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"`{name!r}` is no UTF-8, and the Remote Execution API knows no other names",
            hints=("rename the file",),
        ) from error
    return name
