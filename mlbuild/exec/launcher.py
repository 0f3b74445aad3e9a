"""Launcher: starts commands, waits for them, and leaves none of their processes behind.

A child that is to die with its parent (bwrap's `--die-with-parent`) dies with the *thread* that
started it. The main thread lives as long as its process and starts its children itself; for others
one thread does, which lives as long as the Launcher. The caller's thread waits for its own child.
The process adopts orphans (it becomes a subreaper): a daemon that detached itself is still found.
"""

import errno
import fcntl
import os
import resource
import select
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic

from mlbuild.errors import HostError
from mlbuild.exec.base import Streams
from mlbuild.exec.prctl import adopt_orphans
from mlbuild.exec.strays import end_session

GRACE = 2.0  # seconds between the wish to end and the end


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended, all its processes included."""

    code: int | None  # None when a signal ended it
    signal: int = 0
    timed_out: bool = False
    interrupted: bool = False
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0  # bytes, of the largest process; 0 when not known


class _Order:
    """A wanted child; the launcher thread releases `done` once `child` or `error` is set."""

    __slots__ = ("argv", "child", "cwd", "done", "env", "error", "log", "pass_fds", "streams")

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        log: str,
        pass_fds: tuple[int, ...],
        streams: Streams | None,
    ) -> None:
        self.streams = streams
        self.argv = argv
        self.cwd = cwd
        self.env = env
        self.log = log
        self.pass_fds = pass_fds
        self.child: subprocess.Popen[bytes] | None = None
        self.error: Exception | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Launcher:
    """Runs commands for any number of threads."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()
        self._null = -1  # opened with the first command, like the next: forks have their own
        self._is_cancelled = False
        self._grace = GRACE
        self._cancelled = -1  # an eventfd, readable once `cancel` was called
        self._closed = False

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        log: str,
        pass_fds: tuple[int, ...] = (),
        timeout: float = 0.0,
        init: Callable[[], int] | None = None,
        streams: Streams | None = None,
    ) -> Exit:
        """Run `argv` to its end, with what it prints appended to `log`; block until then.

        With `streams` it reads and prints there instead.

        `init` tells the pid of the init of the command's own pid namespace, 0 while it has none:
        when that process is gone, so is all of the namespace. Raises HostError when the command
        cannot be started.
        """
        if self._is_cancelled:
            return Exit(None, signal.SIGTERM, interrupted=True)
        started = monotonic()
        child = self._spawn(
            _Order(argv, cwd=cwd, env=env, log=log, pass_fds=pass_fds, streams=streams)
        )
        try:
            ended_by = self._wait(child.pid, started + timeout if timeout > 0 else 0.0, init=init)
        except BaseException:  # such as Ctrl-C, where the caller is the main thread
            _kill(init() if init else 0, child.pid, signal.SIGKILL)
            raise
        finally:
            # Not collected yet: until everything else has ended the number stays its own.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            known = init() if init else 0
            if not known:  # there is none, or it was ended before it could tell of its init
                end_session(child.pid, env, cwd)
            inner = _end_namespace(known)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = code = os.waitstatus_to_exitcode(status)
        return Exit(
            code if code >= 0 else None,
            -code if code < 0 else 0,
            timed_out=ended_by == "timeout",
            interrupted=ended_by == "cancel",
            seconds=monotonic() - started,
            cpu_seconds=_cpu(usage) + (_cpu(inner) if inner else 0.0),
            peak_memory=inner.ru_maxrss * 1024 if inner else _peak(usage),
        )

    def cancel(self, *, grace: float = GRACE) -> None:
        """End every running command with all its processes; later `run`s end at once.

        Each has `grace` seconds to end by itself.
        """
        self._grace = grace
        self._is_cancelled = True
        if self._cancelled >= 0 and not self._closed:
            os.eventfd_write(self._cancelled, 1)

    def close(self) -> None:
        """End the launcher thread. Nothing may be running."""
        with self._start:
            if self._closed:
                return
            self._closed = True
            if self._thread is not None:
                self._orders.put(None)
                self._thread.join()
            if self._null >= 0:
                os.close(self._null)
                os.close(self._cancelled)

    def _spawn(self, order: _Order) -> "subprocess.Popen[bytes]":
        if self._null < 0:
            with self._start:
                if self._null < 0:
                    adopt_orphans()
                    self._cancelled = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                    if self._is_cancelled:
                        os.eventfd_write(self._cancelled, 1)
                    self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if threading.current_thread() is threading.main_thread():
            try:
                return _start(order, self._null)
            except Exception as error:
                raise _unstarted(order, error) from error
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    thread = threading.Thread(target=self._serve, name="launcher", daemon=True)
                    thread.start()
                    self._thread = thread
        self._orders.put(order)
        order.done.acquire()
        if order.child is not None:
            return order.child
        assert order.error is not None
        raise _unstarted(order, order.error) from order.error

    def _serve(self) -> None:
        """Start children, one after the other: the body of the launcher thread."""
        while (order := self._orders.get()) is not None:
            try:
                order.child = _start(order, self._null)
            except Exception as error:  # noqa: BLE001 - it belongs to the thread that ordered
                order.error = error
            order.done.release()

    def _wait(self, pid: int, deadline: float, *, init: Callable[[], int] | None) -> str:
        """Wait until `pid` has ended; return what made us end it: "", "timeout" or "cancel"."""
        poll = select.poll()
        pidfd = os.pidfd_open(pid)
        try:
            poll.register(pidfd, select.POLLIN)
            poll.register(self._cancelled, select.POLLIN)
            ended_by = ""
            while True:
                left = max(0.0, deadline - monotonic()) * 1000 if deadline else None
                ready = {fd for fd, _ in poll.poll(left)}
                if pidfd in ready:
                    return ended_by
                if ended_by:  # it had its time to end by itself
                    _kill(init() if init else 0, pid, signal.SIGKILL)
                    deadline = 0.0
                    continue
                ended_by = "cancel" if ready else "timeout"
                poll.unregister(self._cancelled)
                _kill(init() if init else 0, pid, signal.SIGTERM)
                deadline = monotonic() + self._grace
        finally:
            os.close(pidfd)


def _start(order: _Order, null: int) -> "subprocess.Popen[bytes]":
    if order.streams is not None:
        return subprocess.Popen(
            order.argv,
            stdin=order.streams.stdin,
            stdout=order.streams.stdout,
            stderr=order.streams.stderr,
            cwd=order.cwd,
            env=order.env,
            pass_fds=order.pass_fds,
            start_new_session=True,
            preexec_fn=_own_terminal if order.streams.terminal else None,  # noqa: PLW1509 - one call
        )
    log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        return subprocess.Popen(
            order.argv,
            stdin=null,
            stdout=log,
            stderr=log,
            cwd=order.cwd,
            env=order.env,
            pass_fds=order.pass_fds,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _own_terminal() -> None:
    """Make the terminal on descriptor 0 that of our new session: keys like Ctrl-C reach it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _unstarted(order: _Order, error: Exception) -> HostError:
    """Say why a command could not be started."""
    program = order.argv[0]
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.E2BIG:
        size = sum(len(word) + 1 for word in order.argv)
        return too_long(program, size)
    if number == errno.ENOENT and isinstance(error, OSError) and error.filename != order.cwd:
        return unknown_program(program)
    if number in {errno.EACCES, errno.ENOEXEC}:
        return HostError(f"`{program}` cannot be executed: {error}")
    return HostError(f"cannot start `{program}`: {error}")


def too_long(program: str, size: int) -> HostError:
    """Say that a command line has too many bytes."""
    return HostError(
        f"the command line of `{program}` is too long for this system ({size} bytes)",
        hints=("pass the list in a file: write it with `ctx.write` and read it in the script",),
    )


def unknown_program(program: str, *, in_image: bool = False) -> HostError:
    """Say that argv[0] names nothing."""
    if in_image:
        return HostError(
            f"there is no program `{program}` in the image that the action runs in",
            hints=("name it as it is in the image, or use an image that has it",),
        )
    return HostError(
        f"there is no program `{program}` where the action looks for it (/usr/bin and /bin)",
        hints=("declare the tool, or write the path of a file among the inputs, such as `./tool`",),
    )


def _kill(init: int, leader: int, number: int) -> None:
    """Send a signal to the process group of a command.

    The init of a namespace shares its group with the command and, as an init, survives all but
    SIGKILL: so the command has its chance to end well, and with its init everything ends.
    """
    try:
        os.killpg(init or leader, number)
    except ProcessLookupError:
        if init:
            os.killpg(leader, number)


def _end_namespace(init: int) -> resource.struct_rusage | None:
    """Make sure that a pid namespace is dead; return what it used, None when that is counted."""
    if not init:
        return None
    try:
        pid, _, usage = os.wait4(init, os.WNOHANG)
        if pid == 0:
            # It is our child and alive, so its number cannot mean another process.
            os.kill(init, signal.SIGKILL)
            _, _, usage = os.wait4(init, 0)
    except ChildProcessError:
        return None  # bwrap had collected it
    return usage


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _peak(usage: resource.struct_rusage) -> int:
    """Return the peak memory of a direct child in bytes.

    Until it executes the command a child shares our memory, and the kernel counts that: a peak
    that is not above our own says nothing.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * 1024 if usage.ru_maxrss > own else 0
