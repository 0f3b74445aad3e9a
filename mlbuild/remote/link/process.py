"""Process: a program of ours, such as `ssh`, through whose pipes one talks with an agent."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

from mlbuild.errors import HostError
from mlbuild.remote.link.link import Link

_FAREWELL = 3.0  # seconds that it has to end once nobody talks with it
_SAID = 1 << 16  # bytes of what it prints: a host may print without end


def started(
    argv: Sequence[str],
    *,
    where: str,
    environ: Mapping[str, str],
    why: Callable[[int, str], HostError],
) -> Link:
    """Return a link through the pipes of a new process, which nobody has greeted yet.

    `why` gets its exit code and what it printed beside, and returns why the link has ended. Raises
    OSError where it cannot be started.
    """
    said = bounded_file()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**environ},
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
    except OSError:
        os.close(said)
        raise
    assert process.stdin is not None
    assert process.stdout is not None
    orders, answers = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
    process.stdin.close()
    process.stdout.close()

    def end() -> None:
        _end_of(process)
        os.close(said)

    return Link(
        *(orders, answers),
        where=where,
        why=lambda: why(_end_of(process), printed(said)),
        end=end,
    )


def greeted(link: Link) -> Link:
    """Return the link once its agent answers; raise HostError where that does not happen."""
    try:
        link.greet()
    except BaseException:
        link.close()
        raise
    return link


def bounded_file() -> int:
    """Return a file of memory that takes so much and no more: writing more fails."""
    fd = os.memfd_create("said", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, _SAID)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


def printed(fd: int) -> str:
    """Return what was written to a bounded file."""
    return os.pread(fd, _SAID, 0).rstrip(b"\0").decode("utf-8", "replace")


def _end_of(process: "subprocess.Popen[bytes]") -> int:
    """Return the exit code of a process that has nobody to talk with any more."""
    try:
        return process.wait(_FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
