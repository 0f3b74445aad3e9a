"""Layers: tars that are laid over each other, whiteouts included, until files are left.

Nothing is ever written through a link: each path is resolved inside the image as the image's own
root would resolve it, so neither `..` nor a link can lead out.
"""
# ruff: noqa: INP001 - a module of the program image.py

import os
import shutil
import stat
import tarfile
from typing import IO

from image_archive import ImageError

CHUNK = 1 << 20
HOPS = 40  # links that Linux follows for one path
MAX_ENTRIES = 10_000_000
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
# Made anew for each action: what an image has there is never seen.
OURS = ("dev", "proc", "sys", "tmp")
ETC = ("group", "hostname", "hosts", "passwd", "resolv.conf")  # each action's own stand there
NETWORK_ETC = ("hostname", "hosts", "resolv.conf")


class Files:
    """The files of an image below the folder `root`, layer after layer."""

    def __init__(self, root: str, *, limit: int) -> None:
        self.root = root
        self.limit = limit  # bytes
        self.size = 0
        self.count = 0
        self.own: set[str] = set()  # what the present layer made, folders above included

    def apply(self, content: IO[bytes], what: str) -> None:
        """Lay one layer over what there is."""
        self.own = set()
        with tarfile.open(fileobj=content, mode="r|") as tar:
            for entry in tar:
                self.count += 1
                if self.count > MAX_ENTRIES:
                    raise ImageError(f"it has more than {MAX_ENTRIES} entries")
                try:
                    self.add(entry, tar)
                except OSError as error:
                    raise ImageError(
                        f"`{entry.name}` in {what} cannot be written: {error.strerror}"
                    ) from None

    def add(self, entry: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Apply one entry of a layer."""
        parts = safe_parts(entry.name)
        if not parts or parts[0] in OURS:
            return
        *above, name = parts
        folder = self.folder(above)
        path = f"{folder}/{name}" if folder else name
        if name.startswith(WHITEOUT):
            self.white_out(folder, name)
            return
        place = self.place(path)
        if entry.isdir():
            if os.path.islink(place) or not os.path.isdir(place):
                remove(place)
                os.mkdir(place)
        elif entry.isreg():
            remove(place)
            self.write(entry, tar, place)
        elif entry.issym():
            remove(place)
            os.symlink(entry.linkname, place)
        elif entry.islnk():
            self.link(entry, place)
        else:  # a device or a pipe
            return
        self.own.add(path)

    def write(self, entry: tarfile.TarInfo, tar: tarfile.TarFile, place: str) -> None:
        """Write a file; of its mode only whether it is executable."""
        self.size += entry.size
        if self.size > self.limit:
            raise ImageError(f"it unpacks to more than {self.limit >> 20} MiB")
        content = tar.extractfile(entry)
        assert content is not None
        mode = 0o755 if entry.mode & 0o111 else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(place, flags, mode), "wb") as file:
            shutil.copyfileobj(content, file, CHUNK)

    def link(self, entry: tarfile.TarInfo, place: str) -> None:
        """Make a hard link to an earlier file of the image."""
        *above, name = safe_parts(entry.linkname) or ("",)
        folder = self.resolved(above)
        twin = self.place(f"{folder}/{name}" if folder else name)
        found = os.lstat(twin) if os.path.lexists(twin) else None
        if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise ImageError(f"`{entry.name}` is a link to `{entry.linkname}`, which is no file")
        if twin != place:
            remove(place)
            os.link(twin, place, follow_symlinks=False)

    def white_out(self, folder: str, name: str) -> None:
        """Remove what lower layers had: one path, or all that is in a folder."""
        if name == OPAQUE:
            self.clear(folder)
            return
        hidden = name.removeprefix(WHITEOUT)
        path = f"{folder}/{hidden}" if folder else hidden
        if hidden in {"", ".", ".."}:
            raise ImageError(f"`{folder}/{name}` hides nothing that could have a name")
        if not hidden.startswith(WHITEOUT) and path not in self.own:
            remove(self.place(path))

    def clear(self, folder: str) -> None:
        """Remove all below a folder that the present layer has not made."""
        for name in os.listdir(self.place(folder)):
            path = f"{folder}/{name}" if folder else name
            place = self.place(path)
            if path not in self.own:
                remove(place)
            elif os.path.isdir(place) and not os.path.islink(place):
                self.clear(path)

    def folder(self, parts: list[str]) -> str:
        """Return the real path of a folder of the image; make what is missing of it."""
        path = self.resolved(parts)
        above = ""
        for part in path.split("/") if path else ():
            above = f"{above}/{part}" if above else part
            place = self.place(above)
            if os.path.islink(place) or not os.path.isdir(place):
                remove(place)
                os.mkdir(place)
            self.own.add(above)
        return path

    def resolved(self, parts: list[str]) -> str:
        """Follow the links in a path, as in a process whose root the image is."""
        here: list[str] = []
        ahead = parts[::-1]
        hops = 0
        while ahead:
            part = ahead.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                del here[-1:]
                continue
            here.append(part)
            place = self.place("/".join(here))
            if os.path.islink(place):
                hops += 1
                if hops > HOPS:
                    raise ImageError(f"the links of `{'/'.join(parts)}` lead in a circle")
                target = os.readlink(place)
                here = [] if target.startswith("/") else here[:-1]
                ahead.extend(target.split("/")[::-1])
        return "/".join(here)

    def finish(self) -> None:
        """Make the links relative, and room for what each action gets of its own."""
        for folder, names, files in os.walk(self.root):
            for name in (*names, *files):
                place = f"{folder}/{name}"
                if os.path.islink(place):
                    self.straighten(place)
        for name in OURS:
            remove(self.place(name))
            os.mkdir(self.place(name))
        etc = self.folder(["etc"])
        for name in ETC:
            place = self.place(f"{etc}/{name}")
            if name in NETWORK_ETC or os.path.islink(place) or not os.path.isfile(place):
                remove(place)
                touch(place)
        # What Docker adds to every container: so there is the same in a sandbox.
        if not os.path.lexists(self.place(f"{etc}/mtab")):
            os.symlink("../proc/mounts", self.place(f"{etc}/mtab"))
        for name in (".dockerenv", f"{self.folder(['sbin'])}/docker-init"):
            if not os.path.lexists(self.place(name)):
                touch(self.place(name))

    def straighten(self, place: str) -> None:
        """Make a link lead, without its root, where it leads in the image."""
        target = os.readlink(place)
        above = os.path.relpath(os.path.dirname(place), self.root).split("/")
        depth = 0 if above == ["."] else len(above)
        parts = target.split("/")
        climbs = next((at for at, part in enumerate(parts) if part not in {"..", "."}), len(parts))
        ups = parts[:climbs].count("..")
        if target.startswith("/"):
            straight = "/".join([".."] * depth + [part for part in parts if part]) or "."
        elif ups > depth:  # as `/..` is `/`
            straight = "/".join([".."] * depth + parts[climbs:]) or "."
        else:
            straight = target
        if self.leaves([*above[:depth], *straight.split("/")]):
            here = self.resolved([*above[:depth], *parts] if target[:1] != "/" else parts)
            straight = "/".join([".."] * depth + ([here] if here else [])) or "."
        if straight != target:
            os.remove(place)
            os.symlink(straight, place)

    def leaves(self, parts: list[str]) -> bool:
        """Say whether a path, by its text alone, climbs above the root."""
        depth = 0
        for part in parts:
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            if depth < 0:
                return True
        return False

    def place(self, path: str) -> str:
        """Return where `path` lies."""
        return f"{self.root}/{path}" if path else self.root


def safe_parts(path: str) -> list[str]:
    """Return the parts of a path in a layer; refuse one that could leave the image."""
    if path.startswith("/") or "\0" in path:
        raise ImageError(f"`{path}` is no relative path")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ImageError(f"`{path}` leads out of the image")
    return parts


def touch(place: str) -> None:
    """Create an empty file."""
    with open(place, "xb"):
        pass


def remove(place: str) -> None:
    """Remove a file, a link or a folder. It may be absent."""
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    elif os.path.lexists(place):
        os.remove(place)
