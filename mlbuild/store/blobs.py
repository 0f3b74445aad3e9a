"""Blobs: bytes by their hash, in `cas/ab/<hash>` (0444) and `cas-x/ab/<hash>` (0555).

A file of 64 KiB or more shares its inode with every tree that holds it; an executable one needs
an inode of its own, in cas-x. A smaller file is always copied and lies in cas whether it is
executable or not: 35 microseconds each buy that a tree damaged by somebody can be healed from here.

A shared blob has a stamp beside it (`<hash>.stamp`: size, mtime, ctime, inode when its bytes were
last known to be right), renewed whenever a link to it is made, for a link changes the ctime. So
2 GiB are linked into a further tree without reading them; when the stamp differs they are hashed.
"""

import errno
import os
import struct

from mlbuild.core.digest import Digest, digest_of
from mlbuild.errors import InputError
from mlbuild.store import files
from mlbuild.store.gate import Gate
from mlbuild.store.private import Private

PLAIN, EXECUTABLE = "cas", "cas-x"
STAMP = ".stamp"
INODE = 0x7FFF_FFFF_FFFF_FFFF  # stamps are signed
_WRITE_STAMP = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STAMP = struct.Struct("<qqqq")
_MODES = {PLAIN: 0o444, EXECUTABLE: 0o555}


class Blobs:
    """The bytes below `root`. What leaves has been checked against its name."""

    def __init__(self, root: str, private: Private, *, gate: Gate) -> None:
        self._root = root
        self._private = private
        self._gate = gate

    def path(self, digest: Digest, *, executable: bool = False) -> str:
        """Return where the blob lies when it is here."""
        kind = EXECUTABLE if executable and digest.size >= files.SHARED else PLAIN
        return f"{self._root}/{kind}/{digest.hash[:2]}/{digest.hash}"

    def has(self, digest: Digest) -> bool:
        """Say whether a blob of this name and size is here; its bytes are not read."""
        return self._found(digest) is not None

    def _found(self, digest: Digest) -> str | None:
        """Return the path of the blob, plain or executable."""
        paths = [self.path(digest)]
        if digest.size >= files.SHARED:
            paths.append(self.path(digest, executable=True))
        for path in paths:
            if files.is_file(path, size=digest.size):
                return path
        return None

    def put(self, content: bytes) -> Digest:
        """Keep `content`; return its address."""
        digest = digest_of(content)
        self.put_known(content, digest)
        return digest

    def put_known(self, content: bytes, digest: Digest) -> None:
        """Keep `content`, which is `digest`."""
        path = self.path(digest)
        self._touch(path, digest)
        if files.is_file(path, size=digest.size):
            return
        name = self._private.name()
        shared = digest.size >= files.SHARED
        files.write_new(name, content, mode=0o444, moment=shared)
        self._private.settle(name, path)
        if shared:
            restamp(path)

    def put_file(self, path: str, digest: Digest) -> None:
        """Keep a copy of the file at `path`; raise InputError unless its bytes are `digest`."""
        known = self._found(digest) or self.path(digest)
        self._touch(known, digest)
        if files.is_file(known, size=digest.size):
            return
        name = self._private.name()
        try:
            copied = files.copy_new(path, name, mode=0o444)
        except FileNotFoundError as error:
            raise InputError(f"no such file: `{path}`") from error
        if copied != digest:
            files.remove(name)
            raise InputError(f"`{path}` changed after its digest was taken")
        self._private.settle(name, self.path(digest))
        if digest.size >= files.SHARED:
            restamp(self.path(digest))

    def _touch(self, path: str, digest: Digest) -> None:
        """Note that a blob is used which perhaps nothing names yet; a shared one by its stamp."""
        if digest.size < files.SHARED:
            self._gate.touch(path)
        elif not self._gate.touch(path + STAMP):
            self.sound(path, digest)  # which gives it a stamp

    def read(self, digest: Digest) -> bytes | None:
        """Return the verified bytes; a damaged blob goes to the quarantine."""
        while path := self._found(digest):
            content = files.read_file(path)
            if content is None:  # it has just gone
                continue
            if digest_of(content) == digest:
                return content
            self._private.quarantine(path)
        return None

    def fetch(self, digest: Digest, to: str) -> bool:
        """Write the verified bytes to the new file `to`; say whether they are here."""
        while path := self._found(digest):
            try:
                copied = files.copy_new(path, to, mode=0o644)
            except FileNotFoundError:
                if os.path.lexists(path):  # then it is the folder of `to` that is missing
                    raise
                continue
            if copied == digest:
                return True
            files.remove(to)
            self._private.quarantine(path)
        return False

    def adopt(self, path: str, digest: Digest, *, executable: bool) -> None:
        """Make the finished large file at `path`, known to be `digest`, one inode with its blob."""
        blob = self.path(digest, executable=executable)
        while True:
            try:
                os.link(path, blob, follow_symlinks=False)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(blob), 0o700, exist_ok=True)
                continue
            except FileExistsError:
                if not self.sound(blob, digest):
                    continue
                if not self._link(blob, path):
                    continue
            restamp(blob)
            return

    def write_to(self, path: str, digest: Digest, *, executable: bool) -> bool:
        """Make the new file `path` of a tree from verified bytes; say whether they are here."""
        if digest.size < files.SHARED:
            content = self.read(digest)
            if content is None:
                return False
            files.write_new(path, content, mode=0o555 if executable else 0o444, moment=True)
            return True
        blob = self.path(digest, executable=executable)
        if not self.sound(blob, digest) and not self._twin(digest, executable=executable):
            return False
        if not self._link(blob, path):
            return False
        restamp(blob)
        return True

    def _twin(self, digest: Digest, *, executable: bool) -> bool:
        """Make the blob from the one with the other executable bit; say whether it was there."""
        name = self._private.name()
        try:
            mode = 0o555 if executable else 0o444
            copied = files.copy_new(self.path(digest, executable=not executable), name, mode=mode)
        except FileNotFoundError:
            return False
        if copied != digest:
            files.remove(name)
            self._private.quarantine(self.path(digest, executable=not executable))
            return False
        blob = self.path(digest, executable=executable)
        self._private.settle(name, blob)
        restamp(blob)
        return True

    def _link(self, blob: str, path: str) -> bool:
        """Put a link to `blob` in the place of `path`; False when the blob has just gone.

        A blob with as many links as the file system allows is copied to a new inode.
        """
        name = self._private.name()
        try:
            os.link(blob, name, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            files.copy_new(blob, name, mode=os.lstat(blob).st_mode & 0o777)
        os.rename(name, path)
        return True

    def sound(self, blob: str, digest: Digest) -> bool:
        """Say whether the shared blob at `blob` has the bytes of `digest`.

        Its stamp decides, or else hashing; a damaged one goes to the quarantine.
        """
        try:
            found = os.lstat(blob)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if found.st_size == digest.size and is_stamped(blob, found):
            return True
        if files.hash_path(blob) != digest:
            self._private.quarantine(blob, inode=found.st_ino)
            return False
        try:
            os.chmod(blob, 0o555 if blob.startswith(f"{self._root}/{EXECUTABLE}/") else 0o444)
            os.utime(blob, ns=(files.MOMENT, files.MOMENT))
        except FileNotFoundError:  # it has just gone
            return False
        restamp(blob)
        return True


def restamp(blob: str) -> None:
    """Note how a blob whose bytes are known to be right looks now."""
    path = blob + STAMP
    try:
        stamp = _STAMP.pack(*_stamp(os.lstat(blob)))
        fd = os.open(path, _WRITE_STAMP, 0o600)
        try:
            os.pwrite(fd, stamp, 0)
        finally:
            os.close(fd)
    except (OSError, struct.error):  # without a stamp the blob is read when next used
        files.remove(path)


def is_stamped(blob: str, found: os.stat_result) -> bool:
    """Say whether `found` is how the blob looked when its bytes were last known to be right."""
    try:
        return files.read_file(blob + STAMP) == _STAMP.pack(*_stamp(found))
    except struct.error:  # a time beyond the year 2262
        return False


def _stamp(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & INODE
