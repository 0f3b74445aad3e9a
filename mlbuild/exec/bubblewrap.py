"""Bubblewrap: runs an action in namespaces of its own, where only what it declared exists.

Inside: `/work` (inputs, read-only, the working directory), `/out` (outputs), `/checkpoint`, a
private `/tmp`, the host's `/usr`, its own small `/etc`, tools, and no network unless declared.
With an image as its root, the image's folders stand there instead of the host's.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from functools import cache

from mlbuild.core.action import Run
from mlbuild.errors import HostError
from mlbuild.exec import caller, cgroup, view
from mlbuild.exec.base import Execution, Job, Tool
from mlbuild.exec.etc import prepare_etc
from mlbuild.exec.gpus import nodes
from mlbuild.exec.launcher import GRACE, Exit, Launcher, unknown_program
from mlbuild.exec.root import ETC, Root, root_of
from mlbuild.exec.sandbox import Sandbox, stage

_MISSING = "bubblewrap is not installed (no /usr/bin/bwrap)"
_BWRAP = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")

_SIGNAL = 128  # a shell's way, and bwrap's, to tell a signal in an exit code
_SIGNALS = 64

_NO_TERMINAL = "--new-session"  # none to push characters into
_NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    _NO_TERMINAL,
    "--cap-drop",
    "ALL",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--hostname",
    "mlbuild",
)
_SURROUNDINGS = (
    "--proc",
    "/proc",
    # Started by root, our user is root for the kernel's files too: without this a write to
    # kernel/core_pattern would run a program of the action's choice on the host.
    "--ro-bind",
    "/proc/sys",
    "/proc/sys",
    "--dev",
    "/dev",
    "--tmpfs",
    view.TEMPORARY,
    "--dir",
    view.HOME,
)

_NETWORK_FILES = ("resolv.conf", "hosts", "nsswitch.conf")  # of the host's /etc
_NO_PROGRAM = re.compile(r"^bwrap: execvp (.*): No such file or directory$", re.MULTILINE)


class Bubblewrap:
    """The executor "sandbox". `folder` is a private directory that it may keep small files in."""

    name = "sandbox"
    hermetic = True

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._launcher = Launcher()
        self._bwrap = _find()
        self._constant: tuple[str, ...] = ()
        self._once = threading.Lock()

    def available(self) -> str:
        """Return "" when actions can run in a sandbox on this host, else the reason why not."""
        if not self._bwrap:
            return _MISSING
        try:
            options = [*_namespaces(self._bwrap), "--unshare-net", *_programs(), *_SURROUNDINGS]
            ended, said = _try([self._bwrap, *options, "--", "/usr/bin/true"])
        except HostError as error:
            return error.message
        if ended.code == 0:
            return ""
        return f"bubblewrap cannot make a sandbox here: {said or 'it was killed'}"

    def version(self) -> str:
        """Return how the program calls itself, such as `bubblewrap 0.8.0`."""
        return _try([self._bwrap, "--version"])[1] if self._bwrap else ""

    def prepare(self) -> None:
        """Find out what every fork of this process would have to find out by itself."""
        if self._bwrap:
            self._options()

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end; raise HostError where this host cannot."""
        if not self._bwrap:
            raise HostError(
                _MISSING,
                hints=("install the package `bubblewrap`", "or run with `--executor process`"),
            )
        run = job.run
        root = root_of(job)
        if root and run.gpus:
            raise HostError(
                f"`{job.action.owner}` asks for GPUs in an image, whose drivers only Docker adds",
                hints=("start a Docker Engine and run with `--executor docker`",),
            )
        sandbox = stage(job)
        sandbox.add_mount_points()
        called = caller.shown(job)
        inside = view.contained(job, image_env=root.env if root else {})
        options = [*(self._image_options(root) if root else self._options())]
        if job.streams and job.streams.terminal:
            options.remove(_NO_TERMINAL)  # it has one of its own, which leads nowhere else
        options += _network(run, called, ETC if root else _NETWORK_FILES)
        options += _tools(job.tools)
        options += _places(job, sandbox, inside)
        if job.gpus:
            for node in nodes(job.gpus):
                options += ("--dev-bind", node, node)
        for name, value in view.environment(job, inside, called.variables).items():
            options += ("--setenv", name, value)
        told = _memory_file("context", view.context(job, inside))
        options += ("--perms", "0444", "--file", str(told), inside.context)
        options += ("--remount-ro", "/", "--chdir", inside.work)
        argv = [view.text(word, inside) for word in run.argv]
        try:
            return self._execute(job, argv, options=options, out=sandbox.out, pass_fd=told)
        finally:
            os.close(told)
            (sandbox.settle if job.keep else sandbox.clear)()

    def cancel(self, *, grace: float = GRACE) -> None:
        """End every running command with all its children; later `run`s end at once.

        Each has `grace` seconds to end by itself.
        """
        self._launcher.cancel(grace=grace)

    def close(self) -> None:
        """End the thread that starts commands."""
        self._launcher.close()

    def _execute(
        self, job: Job, argv: list[str], *, options: list[str], out: str, pass_fd: int
    ) -> Execution:
        status = _Status()
        options += ("--json-status-fd", str(status.write_end))
        # Through a file: on a command line everybody could read the variables.
        args = _memory_file("options", "\0".join(options).encode("utf-8", "surrogateescape"))
        command = [self._bwrap, "--args", str(args), "--", *argv]
        where = cgroup.hierarchies() if job.run.memory else None
        group = cgroup.make(where, memory=job.run.memory) if where else None
        log_start = _size(job.log)
        try:
            with job.turn:
                ended = self._launcher.run(
                    group.enter(command) if group else command,
                    cwd="/",
                    env={},
                    log=job.log,
                    pass_fds=(pass_fd, args, status.write_end, *job.locks),
                    timeout=job.run.timeout,
                    init=status.init,
                    streams=job.streams,
                )
            out_of_memory = group is not None and group.was_out_of_memory()
            was_ended = ended.interrupted or ended.timed_out or out_of_memory
            if not (was_ended or status.has_exit_code()):
                raise _not_started(job, argv, ended, log_start)
            code, number = _split(ended)
            return Execution(
                out,
                code,
                signal=number,
                timed_out=ended.timed_out,
                out_of_memory=out_of_memory,
                interrupted=ended.interrupted,
                seconds=ended.seconds,
                cpu_seconds=ended.cpu_seconds,
                peak_memory=(group.peak_memory() if group else 0) or ended.peak_memory,
            )
        finally:
            status.close()
            os.close(args)
            if group:
                group.remove()

    def _options(self) -> tuple[str, ...]:
        """Return the options that are the same for every action."""
        if not self._constant:
            with self._once:
                if not self._constant:
                    os.makedirs(self._folder, mode=0o700, exist_ok=True)
                    etc = prepare_etc(self._folder)
                    shown = (*_programs(), "--ro-bind", etc, "/etc", *_SURROUNDINGS)
                    self._constant = (*_namespaces(self._bwrap), *shown)
        return self._constant

    def _image_options(self, root: Root) -> tuple[str, ...]:
        """Return the options of every action in the image: its folders, and who the user is."""
        self._options()
        etc = prepare_etc(self._folder)
        options: list[str] = []
        for name in root.shown:
            path = f"{root.files}/{name}"
            if os.path.islink(path):
                options += ("--symlink", os.readlink(path), f"/{name}")
            else:
                options += ("--ro-bind", path, f"/{name}")
        for name in ("passwd", "group", "hosts"):
            options += ("--ro-bind", f"{etc}/{name}", f"/etc/{name}")
        options += ("--dir", "/sys")  # every container has one
        return (*_namespaces(self._bwrap), *options, *_SURROUNDINGS)


class _Status:
    """What bwrap tells of itself: lines of JSON in a pipe."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._text = b""

    def init(self) -> int:
        """Return the pid of the namespace's init, 0 while it has none."""
        for line in self._lines():
            pid = line.get("child-pid")
            if isinstance(pid, int):
                return pid
        return 0

    def has_exit_code(self) -> bool:
        """Say whether the command itself has run: bwrap tells no code for its own failures."""
        return any("exit-code" in line for line in self._lines())

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self.write_end)

    def _lines(self) -> list[dict[str, object]]:
        try:
            while more := os.read(self._read_end, 4096):
                self._text += more
        except BlockingIOError:
            pass
        complete, _, _ = self._text.rpartition(b"\n")
        return [json.loads(line) for line in complete.splitlines()]


def _find() -> str:
    return next((path for path in _BWRAP if os.access(path, os.X_OK)), "")


def _try(argv: list[str]) -> tuple[Exit, str]:
    """Run a short command of our own; return how it ended and what it printed."""
    launcher = Launcher()
    log = _memory_file("log", b"")
    try:
        ended = launcher.run(argv, cwd="/", env={}, log=f"/proc/self/fd/{log}", timeout=10.0)
        return ended, os.pread(log, 4096, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(log)
        launcher.close()


@cache
def _namespaces(bwrap: str) -> tuple[str, ...]:
    _, said = _try([bwrap, "--version"])
    version = tuple(map(int, re.findall(r"\d+", said)))
    # Without it an action could be root in a user namespace of its own and reach more of the
    # kernel; it has no more rights on files either way.
    return (*_NAMESPACES, "--disable-userns") if version >= (0, 8) else _NAMESPACES


def _programs() -> tuple[str, ...]:
    """Show the host's programs and libraries."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.islink(path):
            options += ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            options += ("--ro-bind", path, path)
    return tuple(options)


def _network(run: Run, called: caller.Shown, names: tuple[str, ...]) -> list[str]:
    """Give the action the host's network and the files `names` of its /etc, or none."""
    if not run.network:
        return ["--unshare-net"]
    options = [word for mount in called.mounts for word in ("--ro-bind", *mount)]
    for name in names:
        options += ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    return options


def _tools(tools: Mapping[str, Tool]) -> list[str]:
    options: list[str] = []
    for tool in tools.values():
        shown = tool.mount or tool.root
        if tool.mount:
            options += ("--ro-bind", tool.root, tool.mount)
        for hidden in tool.hidden:
            options += ("--tmpfs", f"{shown}/{hidden}")
    return options


def _places(job: Job, sandbox: Sandbox, inside: view.View) -> list[str]:
    options = ["--ro-bind", sandbox.work, inside.work, "--bind", sandbox.out, inside.out]
    for whole in sandbox.wholes:
        options += ("--ro-bind", whole.place, f"{inside.work}/{whole.path}")
    if inside.checkpoint:
        options += ("--bind", job.checkpoint, inside.checkpoint)
    if inside.cache:
        options += ("--bind", job.cache, inside.cache)
    return options


def _memory_file(name: str, content: bytes) -> int:
    """Return a descriptor from which `content` can be read."""
    file = os.memfd_create(name, os.MFD_CLOEXEC)
    at = 0
    while at < len(content):
        at += os.pwrite(file, content[at:], at)
    return file


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _split(ended: Exit) -> tuple[int | None, int]:
    """Return the command's exit code or signal: bwrap tells a signal as 128 and its number."""
    if ended.code is not None and _SIGNAL < ended.code <= _SIGNAL + _SIGNALS:
        return None, ended.code - _SIGNAL
    return ended.code, ended.signal


def _not_started(job: Job, argv: list[str], ended: Exit, log_start: int) -> HostError:
    """Say why bwrap ended before the command began, from what it printed."""
    said = ""
    if job.streams is None:  # else it has been said
        with open(job.log, encoding="utf-8", errors="replace") as file:
            file.seek(log_start)
            said = file.read(10_000).strip()
    if _NO_PROGRAM.search(said):
        return unknown_program(argv[0], in_image=bool(job.run.root))
    reason = said.removeprefix("bwrap: ") or f"bwrap ended with {ended.code or ended.signal}"
    return HostError(f"the sandbox of `{argv[0]}` could not be made: {reason}")
