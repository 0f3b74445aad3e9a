"""Sandbox: a directory that holds exactly one action's declared inputs, and a place for outputs.

Small files are copied, and hashed on the way: what the action reads is what its key says. Large
files and trees are named for the executor, which mounts or links each as a whole: the engine never
copies gigabytes, and never makes a hard link (that would change the stamps of the original).
"""

import os
from dataclasses import dataclass

from blake3 import blake3

from mlbuild.core.tree import safe_name
from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Job, Staged

SMALL = 256 * 1024  # bytes; up to here a copy is cheaper than a mount

TINY = 8 * 1024  # bytes; so small files are kept in memory
MOST = 4096  # of them

# 1980-01-01, the first moment that every archive format can tell; SOURCE_DATE_EPOCH says the same.
EPOCH = 315532800

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a file that became a pipe must not block us
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class InputChanged(HostError):  # noqa: N818 - what happened, not a kind of error
    """An input is not (any more) what was hashed: take its digest again, then retry."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"`{path}` changed while it was being used",
            hints=("run the build again once nothing writes to it",),
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Whole:
    """A large file or a tree, to appear as it is at `path` in the working directory."""

    place: str  # absolute
    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The two directories of one action, and what is to be added to the first."""

    work: str  # absolute path of the working directory
    out: str  # absolute path of the output directory
    wholes: tuple[Whole, ...]
    folders: tuple[str, ...]  # folders below work, relative, parents first
    copies: tuple[str, ...]  # files below work, relative

    def add_mount_points(self) -> None:
        """Create an empty file or folder where each large input is to be mounted."""
        for whole in self.wholes:
            point = f"{self.work}/{whole.path}"
            if whole.is_folder:
                os.mkdir(point, 0o755)
            else:
                os.close(os.open(point, _CREATE, 0o444))
        self._date_folders()

    def add_links(self) -> None:
        """Create a symlink to each large input."""
        for whole in self.wholes:
            os.symlink(whole.place, f"{self.work}/{whole.path}")

    def settle(self) -> None:
        """Put a symlink where each large input was mounted, for who looks at it afterwards."""
        for whole in self.wholes:
            point = f"{self.work}/{whole.path}"
            if not os.path.islink(point):
                (os.rmdir if whole.is_folder else os.unlink)(point)
                os.symlink(whole.place, point)

    def clear(self) -> None:
        """Remove what was staged, by name: far quicker than to look what there is.

        Something may be left, whatever the action made there; it goes with the scratch folder.
        """
        try:
            for path in self.copies:
                os.unlink(f"{self.work}/{path}")
            for whole in self.wholes:
                point = f"{self.work}/{whole.path}"
                (os.rmdir if whole.is_folder and not os.path.islink(point) else os.unlink)(point)
            for folder in reversed(self.folders):
                os.rmdir(f"{self.work}/{folder}")
            os.rmdir(self.work)
        except OSError:
            return

    def _date_folders(self) -> None:
        for folder in self.folders:
            os.utime(f"{self.work}/{folder}", (EPOCH, EPOCH))
        os.utime(self.work, (EPOCH, EPOCH))


def stage(job: Job) -> Sandbox:
    """Make the Sandbox of `job` in its scratch directory.

    The parent folders of the declared outputs exist beforehand. Raises InputChanged when a small
    input is not what it is said to be, InputError for a path that would leave the sandbox.
    """
    work, out = f"{job.staging or job.scratch}/work", f"{job.scratch}/out"
    os.mkdir(work, 0o755)
    os.mkdir(out, 0o755)
    trees = {
        staged.path: staged.place
        for staged in job.inputs
        if staged.content.kind == "t" and staged.path != job.run.root
    }
    folders: dict[str, None] = {}  # in order of creation
    wholes: list[Whole] = []
    copies: list[str] = []
    for staged in job.inputs:
        _check(staged.path)
        if staged.path == job.run.root:  # it lies around the working directory, not in it
            continue
        if trees and _is_covered(staged, trees):
            continue
        _make_parents(work, staged.path, folders)
        if staged.content.kind == "t" or staged.content.digest.size > SMALL:
            wholes.append(Whole(staged.place, staged.path, staged.content.kind == "t"))
        else:
            _copy(staged, f"{work}/{staged.path}", known=job.known)
            copies.append(staged.path)
    made: dict[str, None] = {}
    for output in job.action.outputs:
        _check(output.path)
        _make_parents(out, output.path, made)
    return Sandbox(work, out, tuple(wholes), tuple(folders), tuple(copies))


def _check(path: str) -> None:
    """Refuse a path that could leave the directory it is meant for."""
    if not all(map(safe_name, path.split("/"))):
        raise InputError(f"`{path!r}` is not a safe relative path")


def _is_covered(staged: Staged, trees: dict[str, str]) -> bool:
    """Say whether an input already appears inside another one that is a whole tree."""
    parts = staged.path.split("/")
    for n in range(1, len(parts)):
        place = trees.get("/".join(parts[:n]))
        if place is not None:
            if not os.path.lexists(f"{place}/{'/'.join(parts[n:])}"):
                raise InputError(f"input `{staged.path}` lies below another input, which lacks it")
            return True
    return False


def _make_parents(root: str, path: str, made: dict[str, None]) -> None:
    """Create the folders above `path` that are not in `made` yet, and add them."""
    folder = path.rpartition("/")[0]
    if folder and folder not in made:
        _make_parents(root, folder, made)
        try:
            os.mkdir(f"{root}/{folder}", 0o755)
        except FileExistsError as error:
            raise InputError(f"input `{folder}` is a file and `{path}` lies below it") from error
        made[folder] = None


def _copy(staged: Staged, to: str, *, known: dict[str, bytes]) -> None:
    """Write the bytes of `staged` to the new file `to`; make sure that they are the right ones."""
    content = content_of(staged, known=known)
    write_new(to, content, mode=0o555 if staged.content.kind == "x" else 0o444)


def content_of(staged: Staged, *, known: dict[str, bytes]) -> bytes:
    """Return the bytes of a small file; raise InputChanged when they are not what is said.

    Many actions read the same tiny files: what has been checked once is taken from `known`.
    """
    hash_ = staged.content.digest.hash
    content = known.get(hash_)
    if content is None:
        content = _checked(staged)
        if len(content) <= TINY and len(known) < MOST:
            known[hash_] = content
    return content


def write_new(path: str, content: bytes, *, mode: int = 0o444) -> None:
    """Write a file that nobody has yet, dated to the first moment that every archive can tell."""
    file = os.open(path, _CREATE, mode)
    try:
        at = os.write(file, content)
        while at < len(content):
            at += os.write(file, content[at:])
        os.utime(file, (EPOCH, EPOCH))
    finally:
        os.close(file)


def _checked(staged: Staged) -> bytes:
    """Return the bytes of a small file; raise InputChanged when they are not what is said."""
    size = staged.content.digest.size
    try:
        source = os.open(staged.place, _READ)
        try:
            content = os.read(source, size + 1)
            while len(content) < size and (more := os.read(source, size + 1 - len(content))):
                content += more
        finally:
            os.close(source)
    except (FileNotFoundError, IsADirectoryError, BlockingIOError) as error:
        raise InputChanged(staged.path) from error
    except OSError as error:
        raise HostError(f"cannot read `{staged.path}`: {error.strerror}") from error
    if blake3(content).hexdigest() != staged.content.digest.hash:
        raise InputChanged(staged.path)
    return content
