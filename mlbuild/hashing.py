"""Hashing: digests of files, one by one or very many at once."""

import os
import stat
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO

from blake3 import blake3

from mlbuild import columns
from mlbuild.errors import HostError, InputError
from mlbuild.progress import EVERY, Progress

LARGE = 4 << 20  # bytes; from here on mmap and all cores
PIECE = 64 << 20  # bytes that are hashed between two words about progress
SOME = 200  # files, likewise
MANY = 3000  # files; from here on helper processes pay off
RECORD = 1 + columns.WIDTH + 32  # bytes: kind, stamp, hash
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not block us

_threaded = False  # whether blake3 has started its threads in this process
_threadless = False  # whether this is a fork of a process where it had: they are not here, and
# blake3 would wait for them for ever


def threads() -> int:
    """Return how many threads blake3 may use now, for its `max_threads`."""
    global _threaded  # noqa: PLW0603 - so does blake3 itself keep them
    if _threadless:
        return 1
    _threaded = True
    return blake3.AUTO


def _forked() -> None:
    global _threadless  # noqa: PLW0603
    _threadless = _threaded


os.register_at_fork(after_in_child=_forked)


def hash_file(
    path: str, *, shown: str = "", at: int | None = None, progress: Progress | None = None
) -> bytes:
    """Return kind (`f` or `x`), stamp and hash of a regular file, RECORD bytes in all.

    `at` is an open folder that `path` is relative to; `progress` hears of the full pieces of a
    very large file, not of what is left. Raises InputError, which calls the file `shown`, when it
    is absent, unreadable, no regular file, or written to while it is read.
    """
    try:
        for _ in range(5):
            file = os.open(path, _FLAGS, dir_fd=at)
            try:
                before = os.fstat(file)
                if not stat.S_ISREG(before.st_mode):
                    raise InputError(f"`{shown or path}` is not a regular file")
                hash_ = _hash_open(file, before.st_size, progress)
                if hash_ and columns.stamp(os.fstat(file)) == columns.stamp(before):
                    kind = b"x" if before.st_mode & 0o100 else b"f"
                    return kind + columns.stamp(before) + hash_
            finally:
                os.close(file)
    except FileNotFoundError as error:
        raise InputError(f"there is no file `{shown or path}`") from error
    except OSError as error:
        raise InputError(f"cannot read `{shown or path}`: {error.strerror}") from error
    raise InputError(
        f"`{shown or path}` is being written to", hints=("run the build again once it is at rest",)
    )


def _hash_open(file: int, size: int, progress: Progress | None) -> bytes:
    """Return the hash of an open file, nothing when it is shorter or longer than `size` by now."""
    if size >= PIECE and progress is not None:
        return _hash_pieces(file, size, progress)
    if size >= LARGE:
        return blake3(max_threads=threads()).update_mmap(f"/proc/self/fd/{file}").digest()
    content = os.read(file, size + 1)
    while len(content) < size and (more := os.read(file, size + 1 - len(content))):
        content += more
    return blake3(content).digest() if len(content) == size else b""


def _hash_pieces(file: int, size: int, progress: Progress) -> bytes:
    """Return the hash of an open file, as fast as at once; `progress` hears of its full pieces."""
    import mmap  # noqa: PLC0415 - only very large files need it

    hasher = blake3(max_threads=threads())
    try:
        with (
            mmap.mmap(file, size, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as content,
        ):
            for start in range(0, size, PIECE):
                with content[start : start + PIECE] as piece:
                    hasher.update(piece)
                if start + PIECE <= size:
                    progress.add(0, PIECE)
    except ValueError:  # it has become shorter
        return b""
    return hasher.digest()


def hash_files(
    folder: str, names: Sequence[str], *, shown: str = "", progress: Progress | None = None
) -> list[bytes]:
    """Return `hash_file` of each of `names` in `folder`, an absolute path; very many in parallel.

    Raises InputError, which calls the folder `shown`, like `hash_file`.
    """
    if len(names) >= MANY:
        return hash_batches([(folder, list(names))], progress=progress)[0]
    prefix = f"{shown}/" if shown else ""
    try:
        at = columns.open_folder(folder)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and names:
            raise InputError(f"there is no file `{prefix}{names[0]}`") from error
        raise InputError(f"cannot read the folder `{shown}`: {error.strerror}") from error
    try:
        if progress is None:
            return [hash_file(name, shown=prefix + name, at=at) for name in names]
        found: list[bytes] = []
        files = size = 0  # not told of yet
        for name in names:
            record = hash_file(name, shown=prefix + name, at=at, progress=progress)
            found.append(record)
            files, size = files + 1, size + int.from_bytes(record[1:9], "little") % PIECE
            if files >= SOME or size >= PIECE:
                progress.add(files, size)
                files = size = 0
        progress.add(files, size)
        return found
    finally:
        os.close(at)


def hash_batches(
    batches: Sequence[tuple[str, list[str]]], *, progress: Progress | None = None
) -> list[list[bytes]]:
    """Return the records of the files of many folders, hashed by processes of their own.

    Each batch is a folder, absolute, and names in it. Processes and not threads: reading small
    files holds the interpreter's lock. Raises what `hash_file` does.
    """
    pieces = [
        (index, folder, names[start : start + _PIECE])
        for index, (folder, names) in enumerate(batches)
        for start in range(0, len(names), _PIECE)
    ]
    workers = max(1, min(len(os.sched_getaffinity(0)), 8))
    # In turns: neighbours are alike, so every process gets its part of the large and the small.
    lots = [pieces[first::workers] for first in range(min(workers, len(pieces)))]
    orders = [[one[1:] for one in lot] for lot in lots]
    answers = [iter(lot) for lot in _answers(orders, progress)]
    found: list[list[bytes]] = [[] for _ in batches]
    for number, (index, folder, names) in enumerate(pieces):
        for name, record in zip(names, next(answers[number % workers]), strict=True):
            # A process that met an error says so with an empty record: look for ourselves.
            found[index].append(record if record[0] else hash_file(f"{folder}/{name}"))
    return found


def _answers(
    lots: Sequence[Sequence[tuple[str, list[str]]]], progress: Progress | None
) -> list[list[list[bytes]]]:
    """Return the records that a process for each lot finds for its orders: folder and names.

    Orders and answers are files in memory. With pipes, a process that waits for its answers to be
    read, and we, who wait for it to read its orders, would wait for ever.
    """
    import subprocess  # noqa: PLC0415 - 12 ms that only a first look at very many files pays

    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, home, *_search()]
    started: list[tuple[subprocess.Popen[bytes], BinaryIO]] = []
    with ExitStack() as stack:
        for lot in lots:
            orders, answers = stack.enter_context(_memory()), stack.enter_context(_memory())
            orders.write(b"".join([_order(folder, names) for folder, names in lot]))
            orders.seek(0)
            child = subprocess.Popen(command, stdin=orders, stdout=answers)
            stack.callback(child.wait)
            stack.callback(child.kill)
            started.append((child, answers))
        if progress is not None:
            _watch([(child.pid, answers) for child, answers in started], progress)
        for child, answers in started:
            if child.wait() != 0:
                raise HostError("a process that hashes files was killed")
            answers.seek(0)
        return [
            [[answers.read(RECORD) for _ in names] for _, names in lot]
            for (_, answers), lot in zip(started, lots, strict=True)
        ]


def _watch(started: Sequence[tuple[int, BinaryIO]], progress: Progress) -> None:
    """Tell of answers as they come, until the processes end."""
    import select  # noqa: PLC0415 - as above

    seen = [0] * len(started)  # bytes of answers, whole records
    with ExitStack() as stack:
        ends = select.poll()
        running = 0
        for pid, _ in started:
            try:
                end = os.pidfd_open(pid)
            except OSError:  # an old kernel, or one that is not Linux's own
                return
            stack.callback(os.close, end)
            ends.register(end, select.POLLIN)
            running += 1
        while running:
            for end, _ in ends.poll(EVERY * 1000):
                ends.unregister(end)
                running -= 1
            for index, (_, answers) in enumerate(started):
                size = os.fstat(answers.fileno()).st_size // RECORD * RECORD
                fresh = os.pread(answers.fileno(), size - seen[index], seen[index])
                seen[index] = size
                sizes = struct.iter_unpack(f"<xq{RECORD - 9}x", fresh)
                progress.add(len(fresh) // RECORD, sum(one[0] for one in sizes))


_PIECE = 2000  # files in one order to a process
_PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
from mlbuild.hashing import serve
serve()
"""


def _order(folder: str, names: Sequence[str]) -> bytes:
    """Return the order to hash files of a folder, as `serve` reads it."""
    text = "\0".join([folder, *names]).encode("utf-8", "surrogateescape")
    return struct.pack("<I", len(text)) + text


def _memory() -> BinaryIO:
    """Return a new empty file that lies in memory only."""
    return os.fdopen(os.memfd_create("mlbuild"), "w+b")


def _search() -> list[str]:
    """Return the folders that blake3 may be imported from."""
    import blake3 as package  # noqa: PLC0415 - the package, not the class

    return [os.path.dirname(os.path.dirname(os.path.abspath(package.__file__)))]


def serve() -> None:
    """Answer orders on stdin: what a process started by `hash_batches` does."""
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    empty = bytes(RECORD)
    while head := orders.read(4):
        (length,) = struct.unpack("<I", head)
        folder, *names = orders.read(length).decode("utf-8", "surrogateescape").split("\0")
        found: list[bytes] = []
        try:
            at = columns.open_folder(folder)
        except OSError:
            answers.write(empty * len(names))
            continue
        for name in names:
            try:
                found.append(hash_file(name, at=at))
            except InputError:
                found.append(empty)
        os.close(at)
        answers.write(b"".join(found))
    answers.flush()
